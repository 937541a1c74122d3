"""The filter of the request."""

from collections.abc import Sequence

from catalog.in_memory import InMemoryCatalog
from ranking.query import HydratedQuery, Mask, Rows


class Requested:
    """Leaves out items that do not match the request's filter and domain."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def masks(self, queries: Sequence[HydratedQuery], size: int) -> Sequence[Mask]:
        """See `Filter.masks`."""
        return [self._matching(query)[:size] for query in queries]

    def still_allowed(self, queries: Sequence[HydratedQuery], rows: Sequence[Rows]) -> Sequence[Mask]:
        """See `Filter.still_allowed`."""
        return [self._matching(query)[some] for query, some in zip(queries, rows, strict=True)]

    def _matching(self, query: HydratedQuery) -> Mask:
        return self._catalog.matching(query.request.filter, query.request.domain)
