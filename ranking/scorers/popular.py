"""The lowest tier: popularity."""

from collections.abc import Sequence

from ranking.candidates import Candidates, Scores
from ranking.deadline.budget import Budget
from ranking.popularity import Popularity
from ranking.query import HydratedQuery
from recstream.v1 import slate_pb2


class Popular:
    """Scores by popularity at the query's moment. It needs neither a user nor a model."""

    name = "popular"

    def __init__(self, popularity: Popularity) -> None:
        self._popularity = popularity

    def applies(self, query: HydratedQuery, candidates: Candidates) -> bool:
        """See `Scorer.applies`. It always applies."""
        return True

    async def score(
        self, queries: Sequence[HydratedQuery], candidates: Sequence[Candidates], budget: Budget
    ) -> Sequence[Scores | None]:
        """See `Scorer.score`. Every candidate has a score."""
        return [
            Scores(self._popularity.scores(query.now_ms, each.rows), slate_pb2.TIER_POPULAR)
            for query, each in zip(queries, candidates, strict=True)
        ]
