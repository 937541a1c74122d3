"""The filter of items that must not be recommended now."""

from collections.abc import Sequence

from catalog.in_memory import InMemoryCatalog
from ranking.query import HydratedQuery, Mask, Rows


class Eligible:
    """Leaves out items that are withdrawn, removed, or expired at the query's moment."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def masks(self, queries: Sequence[HydratedQuery], size: int) -> Sequence[Mask]:
        """See `Filter.masks`."""
        return [self._catalog.eligible(query.now_ms)[:size] for query in queries]

    def still_allowed(self, queries: Sequence[HydratedQuery], rows: Sequence[Rows]) -> Sequence[Mask]:
        """See `Filter.still_allowed`."""
        return [self._catalog.eligible(query.now_ms)[some] for query, some in zip(queries, rows, strict=True)]
