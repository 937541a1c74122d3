"""Candidates: what the sources retrieve, their union, and their scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model import Floats
from ranking.query import Mask, Rows
from recstream.v1 import slate_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Retrieved:
    """What one source retrieved for one query: catalogue rows, best first."""

    source: str
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The candidates of one query.

    rows: distinct catalogue rows, int64 [m].
    sources: for each the source that retrieved it first, an index into `names`, int64 [m].
    vectors: of the user's model version, float32 [m, d], zeros for an item without one. d is 0 where the query has no
        user, where the version has no vectors, and before candidates are hydrated.
    """

    rows: Rows
    sources: NDArray[np.int64]
    names: tuple[str, ...]
    vectors: Floats

    def __len__(self) -> int:
        return len(self.rows)


def merge(retrieved: Sequence[Retrieved]) -> Candidates:
    """The union in the order of the sources, each row once and of the first source that retrieved it."""
    names = tuple(each.source for each in retrieved)
    if retrieved:
        rows = np.concatenate([each.rows for each in retrieved]).astype(np.int64, copy=False)
        sources = np.repeat(np.arange(len(retrieved)), [len(each.rows) for each in retrieved])
        _, first = np.unique(rows, return_index=True)
        first.sort()
        rows, sources = rows[first], sources[first]
    else:
        rows = sources = np.empty(0, np.int64)
    return Candidates(rows, sources, names, np.empty((len(rows), 0), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A score for each of m candidates, and where it comes from.

    values: float64 [m], higher is better. Not finite where a candidate could not be scored, such as an item without a
        vector.
    tier: the step of the ladder that scored.
    model_version: 0 where no model had a part in it.
    probabilities, predicted_values: the ranker's, float32 [m, A] and [m]; None on the other tiers.
    """

    values: NDArray[np.float64]
    tier: "slate_pb2.Tier.ValueType"
    model_version: int = 0
    probabilities: Floats | None = None
    predicted_values: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The candidates of one query with their scores, and how many items of the catalogue the filters allowed."""

    candidates: Candidates
    scores: Scores
    allowed: int

    def where(self, mask: Mask) -> "Scored":
        """Those that the mask [m] keeps; the same object where it keeps all."""
        if mask.all():
            return self
        c, s = self.candidates, self.scores
        return Scored(
            Candidates(c.rows[mask], c.sources[mask], c.names, c.vectors[mask]),
            Scores(
                s.values[mask],
                s.tier,
                s.model_version,
                None if s.probabilities is None else s.probabilities[mask],
                None if s.predicted_values is None else s.predicted_values[mask],
            ),
            self.allowed,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Which candidates are listed.

    chosen: indices of candidates, the first position first, int64 [k].
    explored: whether a candidate has its position for being new, bool [k].
    """

    chosen: NDArray[np.int64]
    explored: Mask
