"""The source of items nearest to the user."""

from collections.abc import Sequence

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.query import HydratedQuery, Mask, Rows


class Nearest:
    """Retrieves the items whose vectors have the largest inner products with the user's vector.

    For users without a history it retrieves nothing. Popular items are better for them.
    """

    name = "nearest"

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [self._nearest(query, mask) for query, mask in zip(queries, allowed, strict=True)]

    def _nearest(self, query: HydratedQuery, allowed: Mask) -> Rows:
        count = query.settings.nearest
        if query.user is None or not query.model_history or not count:
            return np.empty(0, np.int64)
        rows, _ = self._catalog.search(query.user.version, query.user.vector, count, allowed)
        return rows
