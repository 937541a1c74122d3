"""The top tier: the model's ranker."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from catalog.in_memory import InMemoryCatalog
from catalog.items.publication import age_seconds
from inference.bundle.bundle import Manifest
from inference.model import Candidates as RankerInput
from inference.model import Floats, Model, ModelUnavailable, NotFinite, Ranking, States
from profiles.actions import Action
from ranking.candidates import Candidates, Scores
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls, call_timeout
from ranking.popularity import Popularity
from ranking.query import HydratedQuery
from ranking.scorers.blend import blend
from recstream.v1 import slate_pb2

Asked = tuple[HydratedQuery, Candidates]


class Ranker:
    """Scores by the ranker's predictions, blended with the actions' weights.

    The candidates of all queries of one model version go to the model in one call, padded to the longest list.
    """

    name = "ranker"

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

    def applies(self, query: HydratedQuery, candidates: Candidates) -> bool:
        """See `Scorer.applies`."""
        return query.user is not None and query.manifest is not None and len(candidates) > 0

    async def score(
        self, queries: Sequence[HydratedQuery], candidates: Sequence[Candidates], budget: Budget
    ) -> Sequence[Scores | None]:
        """See `Scorer.score`. The score of a candidate without a vector is not finite, because the ranker lacks its
        input."""
        seconds = budget.left()
        if seconds <= 0:
            raise ModelUnavailable("no time left for the ranker")
        by_version: dict[int, list[int]] = {}
        for index, (query, each) in enumerate(zip(queries, candidates, strict=True)):
            # Without vectors of this version there is nothing to rank.
            if query.user is not None and each.vectors.shape[1] == len(query.user.vector):
                by_version.setdefault(query.user.version, []).append(index)
        tasks: list[tuple[list[int], asyncio.Task[list[Ranking | None]]]] = []
        for version, indices in by_version.items():
            asked = [(queries[index], candidates[index]) for index in indices]
            tasks.append((indices, self._calls.start(self._rank(version, asked, seconds))))
        found: list[Scores | None] = [None] * len(queries)
        try:
            for indices, task in tasks:
                try:
                    rankings = await self._calls.result(task, budget.left())
                except ModelUnavailable:
                    continue  # Other versions may still answer.
                for index, ranking in zip(indices, rankings, strict=True):
                    if ranking is not None:
                        found[index] = self._scores(queries[index], candidates[index], ranking)
        finally:
            for _, task in tasks:
                task.cancel()
        return found

    async def _rank(self, version: int, asked: Sequence[Asked], seconds: float) -> list[Ranking | None]:
        """The ranker's predictions for each query. None: its numbers for this query are not finite."""
        answers: list[Ranking | None] = [None] * len(asked)
        rows = list(range(len(asked)))
        try:
            ranking = await self._asked(version, asked, seconds)
        except NotFinite as error:
            # One bad query must not cost the rest of its batch their tier.
            rows = [row for row in rows if row not in set(error.rows)]
            if not rows:
                raise
            ranking = await self._asked(version, [asked[row] for row in rows], seconds)
        for index, row in enumerate(rows):
            count = len(asked[row][1])
            answers[row] = Ranking(
                ranking.probabilities[index, :count], ranking.predicted_value[index, :count]
            )
        return answers

    async def _asked(self, version: int, asked: Sequence[Asked], seconds: float) -> Ranking:
        manifest = next(query.manifest for query, _ in asked if query.manifest is not None)
        users = [query.user.states for query, _ in asked if query.user is not None]
        states = (
            users[0]
            if len(users) == 1
            else States(
                np.concatenate([each.state for each in users]),
                np.concatenate([each.user_vector for each in users]),
            )
        )
        inputs = self._inputs(asked, manifest)
        ranking = await self._model.rank(version, states, inputs, timeout=call_timeout(seconds))
        lists, longest = inputs.age_seconds.shape
        got = ranking.probabilities.shape, ranking.predicted_value.shape
        if got != ((lists, longest, len(manifest.actions)), (lists, longest)):
            raise ModelUnavailable(
                f"the ranker returned shapes {got} for {lists} lists of {longest} candidates and "
                f"{len(manifest.actions)} actions"
            )
        return ranking

    def _inputs(self, asked: Sequence[Asked], manifest: Manifest) -> RankerInput:
        if len(asked) == 1:  # Nothing has to be padded, so nothing is copied.
            one = self._input(*asked[0], manifest)
            return RankerInput(one[0][None], one[1][None], one[2][None], one[3])
        lists, longest = len(asked), max(len(candidates) for _, candidates in asked)
        half_lives = len(manifest.popularity_half_lives_days)
        inputs = RankerInput(
            np.zeros((lists, longest, manifest.width), np.float32),
            np.full((lists, longest), -1, np.float32),
            np.zeros((lists, longest, half_lives), np.float32),
            np.zeros(lists, np.float32),
        )
        for index, (query, candidates) in enumerate(asked):
            vectors, ages, popularity, idle = self._input(query, candidates, manifest)
            count = len(candidates)
            inputs.vectors[index, :count] = vectors
            inputs.age_seconds[index, :count] = ages
            inputs.popularity[index, :count] = popularity
            inputs.idle_seconds[index] = idle[0]
        return inputs

    def _input(
        self, query: HydratedQuery, candidates: Candidates, manifest: Manifest
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Vectors [m, d], ages [m], popularities [m, P] and idle seconds [1] of one list."""
        ages = age_seconds(self._catalog.published_ms[candidates.rows], query.now_ms)
        popularity = self._popularity.features(query.now_ms, manifest, candidates.rows)
        idle = query.user.idle_seconds if query.user is not None else -1.0
        return candidates.vectors, ages, popularity, np.array([idle], np.float32)

    def _scores(self, query: HydratedQuery, candidates: Candidates, ranking: Ranking) -> Scores | None:
        if query.user is None or query.manifest is None:
            return None
        values = blend(ranking, query.manifest, self._actions, query.settings)
        values[~candidates.vectors.any(axis=1)] = np.nan
        if not np.isfinite(values).any():
            return None
        return Scores(
            values,
            slate_pb2.TIER_RANKED,
            query.user.version,
            ranking.probabilities,
            ranking.predicted_value,
        )
