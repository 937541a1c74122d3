"""The source of items with lasting popularity."""

from collections.abc import Sequence

from ranking.popularity import Popularity
from ranking.query import HydratedQuery, Mask, Rows


class Popular:
    """Retrieves items by lasting popularity.

    It needs neither a user nor a model. It keeps every list full, because it retrieves at least as many items as the
    list has positions, if that many are allowed.
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
