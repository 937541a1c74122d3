"""Candidates: what the sources propose, and their union."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.query import Mask, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A source's rows, best first."""

    source: str
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Distinct catalogue rows [m], and for each the source that named it first, an index into `names`."""

    rows: Rows
    sources: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, mask: Mask) -> "Candidates":
        """Those that the mask [m] keeps."""
        return Candidates(self.rows[mask], self.sources[mask], self.names)


def merge(proposals: Sequence[Proposal]) -> Candidates:
    """The union in the order of the proposals, no row twice: the first source that named it has it."""
    names = tuple(proposal.source for proposal in proposals)
    if not proposals:
        return Candidates(np.empty(0, np.int64), np.empty(0, np.int64), names)
    rows = np.concatenate([proposal.rows for proposal in proposals]).astype(np.int64, copy=False)
    sources = np.repeat(np.arange(len(proposals)), [len(proposal.rows) for proposal in proposals])
    _, first = np.unique(rows, return_index=True)
    first.sort()
    return Candidates(rows[first], sources[first], names)
