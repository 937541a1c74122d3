"""The top tier: the model's ranker."""

from collections.abc import Mapping

import numpy as np

from catalog.in_memory import InMemoryCatalog
from inference.bundle.bundle import Manifest
from inference.model import Candidates as RankerInput
from inference.model import Floats, Model, ModelUnavailable, Ranking
from profiles.actions import Action
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls, own_timeout
from ranking.popularity import Popularity
from ranking.query import Query, Rows, User
from ranking.scorers.blend import blend
from ranking.scorers.scores import Scores
from recstream.v1 import slate_pb2


class Ranker:
    """Scores by the ranker on Triton, blended by the actions' weights."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        model: Model,
        calls: Calls,
        popularity: Popularity,
        actions: Mapping[str, Action],
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._calls = calls
        self._popularity = popularity
        self._actions = actions

    async def score(self, query: Query, rows: Rows, vectors: Floats, budget: Budget) -> Scores:
        """Scores of the candidates' rows [m] with vectors [m, d], zeros where there is none.

        Raises ModelUnavailable when the ranker has no usable answer within the budget.
        """
        user, manifest = query.user, query.manifest
        if user is None or manifest is None:
            raise ModelUnavailable("there is no state of the user to rank for")
        if vectors.shape[1] != len(user.vector):
            raise ModelUnavailable(f"there are no item vectors of model version {user.version}")
        seconds = budget.left()
        if seconds <= 0:
            raise ModelUnavailable("no time left for the ranker")
        task = self._calls.start(
            self._model.rank(
                user.version,
                user.states,
                self._input(query, user, manifest, rows, vectors),
                timeout=own_timeout(seconds),
            )
        )
        ranking = await self._calls.result(task, seconds)
        _check(ranking, len(rows), len(manifest.actions))
        values = blend(ranking, manifest, self._actions, query.settings)
        # Without a vector the ranker had nothing to go by: such a score is no score.
        values[~vectors.any(axis=1)] = np.nan
        if not np.isfinite(values).any():
            raise ModelUnavailable("no candidate has a finite score")
        return Scores(values, slate_pb2.TIER_RANKED, user.version, ranking)

    def _input(
        self, query: Query, user: User, manifest: Manifest, rows: Rows, vectors: Floats
    ) -> RankerInput:
        published = self._catalog.published_ms[rows]
        ages = np.where(published > 0, np.maximum(0, query.now_ms - published) / 1000, -1).astype(np.float32)
        popularities = self._popularity.features(query.now_ms, manifest, rows)
        return RankerInput(vectors, ages, popularities, user.idle_seconds)


def _check(ranking: Ranking, rows: int, actions: int) -> None:
    got = ranking.probabilities.shape, ranking.predicted_value.shape
    if got != ((rows, actions), (rows,)):
        raise ModelUnavailable(f"the ranker gave shapes {got} for {rows} candidates and {actions} actions")
