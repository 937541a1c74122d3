"""What many act on now."""

import numpy as np

from ranking.popularity import Popularity
from ranking.query import Mask, Query, Rows


class Trending:
    """Items by popularity now, at least as many as the list has places, or none where the surface asks for none. It
    needs neither a user nor a model."""

    name = "trending"

    def __init__(self, popularity: Popularity) -> None:
        self._popularity = popularity

    async def propose(self, query: Query, allowed: Mask) -> Rows:
        """See `Source.propose`."""
        if not query.settings.trending:
            return np.empty(0, np.int64)
        count = max(query.settings.trending, query.request.count)
        return self._popularity.trending(query.now_ms, allowed, count)
