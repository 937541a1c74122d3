"""Items that many acted on, lately and before."""

from collections.abc import Sequence

from ranking.popularity import Popularity
from ranking.query import HydratedQuery, Mask, Rows


class Popular:
    """Items by lasting popularity.

    It needs neither a user nor a model, and keeps every list full: it retrieves at least as many items as the list has
    positions, if so many are allowed.
    """

    name = "popular"

    def __init__(self, popularity: Popularity) -> None:
        self._popularity = popularity

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [
            self._popularity.lasting(
                query.now_ms, query.manifest, mask, max(query.settings.popular, query.request.count)
            )
            for query, mask in zip(queries, allowed, strict=True)
        ]
