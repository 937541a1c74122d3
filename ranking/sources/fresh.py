"""The source of new items."""

from collections.abc import Sequence

import numpy as np

from catalog.in_memory import InMemoryCatalog
from catalog.items.publication import UNKNOWN_MS
from ranking.query import HydratedQuery, Mask, Rows


class Fresh:
    """Retrieves the items published within the surface's `fresh_days`, newest first.

    Without it, items without any events would never be listed.
    """

    name = "fresh"

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [self._fresh(query, mask) for query, mask in zip(queries, allowed, strict=True)]

    def _fresh(self, query: HydratedQuery, allowed: Mask) -> Rows:
        count = query.settings.fresh
        if not count:
            return np.empty(0, np.int64)
        published = self._catalog.published_ms[: len(allowed)]
        rows = np.flatnonzero(allowed & is_fresh(published, query.now_ms, query.settings.fresh_days))
        return rows[np.argsort(-published[rows], kind="stable")[:count]]


def is_fresh(published_ms: Rows, now_ms: int, days: float) -> Mask:
    """Whether items were published within the last `days`. Items with a future or unknown time were not."""
    age_ms = now_ms - published_ms
    fresh: Mask = (age_ms >= 0) & (age_ms < days * 86_400_000) & (published_ms != UNKNOWN_MS)
    return fresh
