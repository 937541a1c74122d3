"""Only what was asked for."""

from catalog.in_memory import InMemoryCatalog
from ranking.query import Mask, Query, Rows


class Requested:
    """Leaves out items that the request's filter and domain do not match."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def mask(self, query: Query, size: int) -> Mask:
        """See `Filter.mask`."""
        return self._catalog.matching(query.request.filter, query.request.domain)[:size]

    def still(self, query: Query, rows: Rows, now_ms: int) -> Mask:
        """See `Filter.still`."""
        return self._catalog.matching(query.request.filter, query.request.domain)[rows]
