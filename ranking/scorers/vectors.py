"""The middle tier: the user's vector against item vectors."""

from collections.abc import Sequence

import numpy as np

from ranking.candidates import Candidates, Scores
from ranking.deadline.budget import Budget
from ranking.query import HydratedQuery, User
from recstream.v1 import slate_pb2


class Vectors:
    """Scores by inner products, for users with a history."""

    name = "vectors"

    def applies(self, query: HydratedQuery, candidates: Candidates) -> bool:
        """See `Scorer.applies`. It does not apply to a user without a history, whose vector means nothing."""
        return query.user is not None and bool(query.model_history) and len(candidates) > 0

    async def score(
        self, queries: Sequence[HydratedQuery], candidates: Sequence[Candidates], budget: Budget
    ) -> Sequence[Scores | None]:
        """See `Scorer.score`. The score of a candidate without a vector is not finite. None: this is true of all
        candidates."""
        return [
            None if query.user is None else _inner_products(query.user, each)
            for query, each in zip(queries, candidates, strict=True)
        ]


def _inner_products(user: User, candidates: Candidates) -> Scores | None:
    if candidates.vectors.shape[1] != len(user.vector):
        return None
    values = (candidates.vectors @ user.vector).astype(np.float64)
    values[~candidates.vectors.any(axis=1)] = np.nan
    if not np.isfinite(values).any():
        return None
    return Scores(values, slate_pb2.TIER_VECTORS, user.version)
