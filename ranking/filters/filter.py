"""What a filter is, and all of them together."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ranking.query import Mask, Query, Rows


class Filter(Protocol):
    """One rule on what may be on a list.

    It is a mask before the sources search, so that a list stays full however strict the rule, and a check
    of the scored candidates after, since the catalogue may have changed while the model was at work.
    """

    def mask(self, query: Query, size: int) -> Mask:
        """The catalogue rows below `size` that may be on the list: bool [size]. Not written to by anybody."""

    def still(self, query: Query, rows: Rows, now_ms: int) -> Mask:
        """Of these rows, those that still may, at this later moment: bool [m]."""


class Filters:
    """The conjunction of some filters."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = filters

    def mask(self, query: Query, size: int) -> Mask:
        """As `Filter.mask`; the caller owns the array."""
        allowed = np.ones(size, np.bool_)
        for each in self._filters:
            allowed &= each.mask(query, size)
        return allowed

    def still(self, query: Query, rows: Rows, now_ms: int) -> Mask:
        """As `Filter.still`."""
        allowed = np.ones(len(rows), np.bool_)
        for each in self._filters:
            allowed &= each.still(query, rows, now_ms)
        return allowed
