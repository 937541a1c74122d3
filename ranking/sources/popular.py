"""What many acted on, lately and before."""

from ranking.popularity import Popularity
from ranking.query import Mask, Query, Rows


class Popular:
    """Items by lasting popularity. It needs neither a user nor a model, and keeps every list full: it proposes at
    least as many as the list has places, as long as so many are allowed."""

    name = "popular"

    def __init__(self, popularity: Popularity) -> None:
        self._popularity = popularity

    async def propose(self, query: Query, allowed: Mask) -> Rows:
        """See `Source.propose`."""
        count = max(query.settings.popular, query.request.count)
        return self._popularity.lasting(query.now_ms, query.manifest, allowed, count)
