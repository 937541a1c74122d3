"""The source of trending items."""

from collections.abc import Sequence

import numpy as np

from ranking.popularity import Popularity
from ranking.query import HydratedQuery, Mask, Rows


class Trending:
    """Retrieves items by popularity now: at least as many as the list has positions, or none if the surface asks for
    none. It needs neither a user nor a model.
    """

    name = "trending"

    def __init__(self, popularity: Popularity) -> None:
        self._popularity = popularity

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [
            self._popularity.trending(query.now_ms, mask, max(count, query.request.count))
            if (count := query.settings.trending)
            else np.empty(0, np.int64)
            for query, mask in zip(queries, allowed, strict=True)
        ]
