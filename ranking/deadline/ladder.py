"""The deadline ladder: ranker, then vectors, then popularity."""

from inference.model import Floats, ModelUnavailable
from ranking import metrics
from ranking.deadline.budget import Budget
from ranking.deadline.faults import log_fault
from ranking.popularity import Popularity
from ranking.query import Query, Rows
from ranking.scorers import popular, vectors
from ranking.scorers.ranker import Ranker
from ranking.scorers.scores import Scores


class Ladder:
    """Scores candidates as well as can be done in time. The scores name the tier that they are from."""

    def __init__(self, ranker: Ranker, popularity: Popularity) -> None:
        self._ranker = ranker
        self._popularity = popularity

    async def score(self, query: Query, rows: Rows, item_vectors: Floats, budget: Budget) -> Scores:
        """Scores of the candidates' rows [m] with vectors [m, d]. Takes the budget at most, and a moment.

        Scores of different tiers are never mixed: if the ranker fails for one candidate it fails for all.
        """
        if query.user is not None and len(rows):
            try:
                return await self._ranker.score(query, rows, item_vectors, budget)
            except ModelUnavailable:
                # The model's client has said why; a line a list would drown it.
                metrics.STEPS_DOWN.labels("ranker", "unavailable").inc()
            except Exception as error:  # a fault of ours costs the user a tier, not the list
                metrics.STEPS_DOWN.labels("ranker", "fault").inc()
                log_fault("ranker_failed", error)
            # Near a user of whom nothing is known is nothing.
            if query.model_history:
                if (scores := vectors.score(query.user, item_vectors)) is not None:
                    return scores
                metrics.STEPS_DOWN.labels("vectors", "no_vectors").inc()
        return popular.score(self._popularity, rows, query.now_ms)
