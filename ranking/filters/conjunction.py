"""Several filters as one."""

from collections.abc import Callable, Sequence

import numpy as np

from ranking.query import HydratedQuery, Mask, Rows
from ranking.stages import Filter


class Conjunction:
    """A filter that allows the items that all of its filters allow."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = filters

    def masks(self, queries: Sequence[HydratedQuery], size: int) -> list[Mask]:
        """See `Filter.masks`. Each query has an array of its own."""
        allowed = [np.ones(size, np.bool_) for _ in queries]
        return _and(allowed, self._filters, lambda each: each.masks(queries, size))

    def still_allowed(self, queries: Sequence[HydratedQuery], rows: Sequence[Rows]) -> list[Mask]:
        """See `Filter.still_allowed`. Each query has an array of its own."""
        allowed = [np.ones(len(some), np.bool_) for some in rows]
        return _and(allowed, self._filters, lambda each: each.still_allowed(queries, rows))


def _and(
    allowed: list[Mask], filters: Sequence[Filter], masks: Callable[[Filter], Sequence[Mask]]
) -> list[Mask]:
    for each in filters:
        for mask, more in zip(allowed, masks(each), strict=True):
            mask &= more
    return allowed
