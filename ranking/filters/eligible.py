"""Only what can be had now."""

from catalog.in_memory import InMemoryCatalog
from ranking.query import Mask, Query, Rows


class Eligible:
    """Leaves out items that are withdrawn, removed, or expired."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def mask(self, query: Query, size: int) -> Mask:
        """See `Filter.mask`."""
        return self._catalog.eligible(query.now_ms)[:size]

    def still(self, query: Query, rows: Rows, now_ms: int) -> Mask:
        """See `Filter.still`."""
        return self._catalog.eligible(now_ms)[rows]
