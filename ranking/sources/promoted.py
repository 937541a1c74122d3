"""The source of promoted items."""

from collections.abc import Sequence
from math import floor

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.popularity import Popularity
from ranking.query import HydratedQuery, Mask, Rows
from recstream.v1 import rules_pb2


class Promoted:
    """Retrieves items for promotions: those nearest to the user, and popular ones where there are too few.

    Caps may leave some of them out. So there are twice as many as a promotion reserves positions, and at most twice as
    many as the list has positions in total.
    """

    name = "promoted"

    def __init__(self, catalog: InMemoryCatalog, popularity: Popularity) -> None:
        self._catalog = catalog
        self._popularity = popularity

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [self._promoted(query, mask) for query, mask in zip(queries, allowed, strict=True)]

    def _promoted(self, query: HydratedQuery, allowed: Mask) -> Rows:
        found = np.empty(0, np.int64)
        for promotion in query.rules.promotions:
            left = 2 * query.request.count - len(found)
            count = min(left, 2 * floor(promotion.share * query.request.count))
            if count > 0:
                rows = self._matching(query, promotion, allowed, count)
                found = np.concatenate([found, rows[~np.isin(rows, found)]])
        return found

    def _matching(
        self, query: HydratedQuery, promotion: rules_pb2.Promotion, allowed: Mask, count: int
    ) -> Rows:
        mask = allowed & self._catalog.matching(promotion.filter, "")[: len(allowed)]
        nearest = np.empty(0, np.int64)
        if query.user is not None and query.model_history:
            nearest, _ = self._catalog.search(query.user.version, query.user.vector, count, mask)
        if len(nearest) == count:
            return nearest
        mask[nearest] = False
        popular = self._popularity.lasting(query.now_ms, query.manifest, mask, count - len(nearest))
        return np.concatenate([nearest, popular])
