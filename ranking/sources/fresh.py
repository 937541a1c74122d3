"""What is new."""

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.query import Mask, Query, Rows


class Fresh:
    """The newest items that were published within the surface's `fresh_days`, newest first: without them
    an item that nobody has seen would never be seen."""

    name = "fresh"

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    async def propose(self, query: Query, allowed: Mask) -> Rows:
        """See `Source.propose`."""
        count = query.settings.fresh
        if not count:
            return np.empty(0, np.int64)
        published = self._catalog.published_ms[: len(allowed)]
        rows = np.flatnonzero(allowed & is_fresh(published, query.now_ms, query.settings.fresh_days))
        return rows[np.argsort(-published[rows], kind="stable")[:count]]


def is_fresh(published_ms: Rows, now_ms: int, days: float) -> Mask:
    """Whether items were published within these days, and not in the future; unknown (0 or less) is not."""
    return (published_ms > max(0, now_ms - days * 86_400_000)) & (published_ms <= now_ms)
