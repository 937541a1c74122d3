"""The source of items that the caller names."""

from collections.abc import Sequence

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.query import HydratedQuery, Mask, Rows


class Given:
    """Retrieves the request's items, as far as the catalogue knows them, in the request's order."""

    name = "given"

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [self._given(query, mask) for query, mask in zip(queries, allowed, strict=True)]

    def _given(self, query: HydratedQuery, allowed: Mask) -> Rows:
        known = (row for item_id in query.request.item_ids if (row := self._catalog.row(item_id)) is not None)
        # An item may have come after the mask was made.
        rows = np.fromiter((row for row in known if row < len(allowed)), np.int64)
        return rows[allowed[rows]]
