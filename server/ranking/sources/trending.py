"""What many act on now."""

import numpy as np

from server.ranking.popularity import Popularity
from server.ranking.query import Mask, Query, Rows


class Trending:
    """Items by popularity now. It needs neither a user nor a model, and keeps every list full: it
    proposes at least as many as the list has places, as long as so many are allowed."""

    name = "trending"

    def __init__(self, popularity: Popularity) -> None:
        self._popularity = popularity

    async def propose(self, query: Query, allowed: Mask) -> Rows:
        """See `Source.propose`."""
        rows = np.flatnonzero(allowed)
        count = max(query.settings.trending, query.request.count)
        scores = self._popularity.scores(query.now_ms, rows)
        if count < len(rows):
            best = np.argpartition(-scores, count - 1)[:count]
            rows, scores = rows[best], scores[best]
        return rows[np.argsort(-scores, kind="stable")]
