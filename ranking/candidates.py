"""Candidates: the sources' retrievals, their union, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model import Floats
from ranking.query import Mask, Rows
from recstream.v1 import slate_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Retrieved:
    """The catalogue rows that one source retrieved for one query, best first."""

    source: str
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The candidates of one query.

    Attributes:
        rows: Distinct catalogue rows, int64 [m].
        sources: The source that retrieved each candidate first, as an index into `names`, int64 [m].
        names: The sources.
        vectors: Item vectors of the user's model version, float32 [m, d]. Zeros for an item without one. d is 0 if the
            query has no user, if the version has no vectors, and before hydration.
    """

    rows: Rows
    sources: NDArray[np.int64]
    names: tuple[str, ...]
    vectors: Floats

    def __len__(self) -> int:
        return len(self.rows)


def merge(retrieved: Sequence[Retrieved]) -> Candidates:
    """The union of retrievals, in their order. A row belongs to the first source that retrieved it."""
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
    """Scores of m candidates.

    Attributes:
        values: float64 [m], higher is better. Not finite for a candidate that could not be scored, such as an item
            without a vector.
        tier: The step of the ladder that computed them.
        model_version: The version that computed them. 0: no model was involved.
        probabilities, predicted_values: The ranker's predictions, float32 [m, A] and [m]. None on the other tiers.
    """

    values: NDArray[np.float64]
    tier: "slate_pb2.Tier.ValueType"
    model_version: int = 0
    probabilities: Floats | None = None
    predicted_values: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The candidates of one query with their scores. `allowed`: how many items of the catalogue the filters allowed."""

    candidates: Candidates
    scores: Scores
    allowed: int

    def where(self, mask: Mask) -> "Scored":
        """Returns the candidates in the mask [m]. If it keeps all, returns this object."""
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
    """The candidates that are listed.

    Attributes:
        chosen: Indices of candidates in the order of the list, int64 [k].
        scores: What they were ordered by: their scores, moved by boosts and rotation, float64 [k].
        placed_by: Why a candidate has its position, [k]: `PINNED`, `PROMOTED`, `FRESH` (a position for new items), or
            `UNSPECIFIED` (the order).
        rules: The name of the promotion that placed a candidate, or of the boost that moved it most if the order did,
            [k]. Empty: there is none.
        missed: How many rules of a kind could not hold, by the kinds of `ranking.metrics.RULES`.
    """

    chosen: NDArray[np.int64]
    scores: NDArray[np.float64]
    placed_by: tuple["slate_pb2.ReasonKind.ValueType", ...]
    rules: tuple[str, ...]
    missed: Mapping[str, int]
