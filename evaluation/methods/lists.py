"""The methods of the product: its lists, made by `ranking`, and its retrieval alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from catalog.items.items import Item
from evaluation.errors import EvaluationError
from evaluation.method import EvalQueries
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.replay import Folded, Replay
from evaluation.protocols.split import Split
from inference.histories import histories
from inference.version_routing import VersionRouting
from models.data.events import Floats
from profiles.actions import ProfileSettings
from profiles.folding.history import model_history
from profiles.profile import Entry
from ranking.build import build
from ranking.query import ListRequest, Query
from ranking.rules.settings import RulesSettings
from ranking.settings import DEFAULT_SURFACE, RankingSettings
from recstream.v1 import slate_pb2

LENGTH: Final = 20
"""Items of a list: the number that a client gets by default."""

_TIMEOUT_SECONDS: Final = 3600.0
_BATCH: Final = 16
_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class ListSettings:
    """How the product makes the lists that are evaluated: settings of profiles and ranking, and the surface."""

    profiles: ProfileSettings
    ranking: RankingSettings
    surface: str = DEFAULT_SURFACE

    def all_items(self, count: int) -> "ListSettings":
        """The same settings with all `count` items as candidates, listed in the order of their scores."""
        return self._with(
            nearest=count, popular=count, exploration_share=0.0, category_share=1.0, rules=RulesSettings()
        )

    def all_candidates(self) -> "ListSettings":
        """The same settings with the surface's candidates in the order of their scores: no exploration, no cap on
        categories, and no rules."""
        return self._with(exploration_share=0.0, category_share=1.0, rules=RulesSettings())

    def as_key(self) -> dict[str, object]:
        """The settings that change a list, as JSON values."""
        return {
            "surface": self.ranking.surface(self.surface).model_dump(mode="json"),
            "trending_half_life_hours": self.ranking.trending_half_life_hours,
            "profiles": self.profiles.model_dump(mode="json", include={"actions", "tail"}),
        }

    def _with(self, **values: object) -> "ListSettings":
        surface = self.ranking.surface(self.surface).model_copy(update=values)
        # A surface takes unset fields from `default`, so all fields are set.
        whole = surface.model_copy(update=dict(surface))
        if self.surface == DEFAULT_SURFACE:
            return replace(self, ranking=self.ranking.model_copy(update={"default": whole}))
        surfaces = {**self.ranking.surfaces, self.surface: whole}
        return replace(self, ranking=self.ranking.model_copy(update={"surfaces": surfaces}))


class RankedLists:
    """Lists as a server makes them, by `ranking` with an in-memory catalogue, a model in this process, and the moment
    of each query."""

    def __init__(
        self,
        split: Split,
        catalogue: Sequence[Item],
        model: EvaluatedModel,
        settings: ListSettings,
        name: str = "recstream",
        *,
        length: int = LENGTH,
    ) -> None:
        """Args:
        split: Its events are replayed before each query.
        catalogue: What is known about the items; see `Replay`.
        model: The model.
        settings: How lists are made.
        name: Name of the method.
        length: Items of a list.
        """
        self.name = name
        self._known, self._length, self._surface = split.known, length, settings.surface
        self._replay = Replay(split, catalogue, model, settings.profiles)
        routing = VersionRouting.single(model.manifest)
        self._runner = build(
            self._replay.catalog, model.model, lambda: routing, self._replay.profiles, settings.ranking
        ).found

    def scores(self, queries: EvalQueries) -> Floats:
        """Makes the lists.

        Returns:
            Scores, float32 [b, items]. The first item of a list gets the list's length, and each further item one
            less. Other items get -inf.

        Raises:
            EvaluationError: A list was made without the ranker.
        """
        return asyncio.run(self._scores(queries))

    async def _scores(self, queries: EvalQueries) -> Floats:
        scores = np.full((len(queries), len(self._known.item_ids)), -np.inf, np.float32)
        for batch in self._replay.batches(queries):
            for start in range(0, len(batch), _BATCH):
                part = batch[start : start + _BATCH].tolist()
                # No deadline, so that figures are of the best tier however slow this machine is.
                lists = await self._runner.rank([self._query(queries, index) for index in part])
                for index, ranked in zip(part, lists, strict=True):
                    self._check(ranked.slate)
                    scores[index, ranked.rows] = np.arange(len(ranked.rows), 0, -1)
        return scores

    def _query(self, queries: EvalQueries, index: int) -> Query:
        folded = self._replay.folded(queries, index)
        return Query(
            ListRequest(
                user_id=self._known.user_ids[queries.users[index]],
                count=self._length,
                surface=self._surface,
                excluded=self._excluded(queries, index),
            ),
            now_ms=int(queries.time_ms[index]),
            stored=folded.stored if folded is not None else None,
            tail=folded.tail if folded is not None else None,
        )

    def _check(self, slate: slate_pb2.Slate) -> None:
        """Raises EvaluationError for a list of a lower tier: a model that fails must not look like a bad one."""
        if slate.items and slate.tier != slate_pb2.TIER_RANKED:
            raise EvaluationError("a list was made without the ranker; the log has the cause")

    def _excluded(self, queries: EvalQueries, index: int) -> frozenset[str]:
        """Ids of items that must not be listed, besides those of the history."""
        if queries.excluded is None:
            return frozenset()
        rows = queries.excluded[index]
        items = self._known.items[rows[~self._known.repeats[rows]]]
        return frozenset(self._known.item_ids[item] for item in items.tolist())


class Retrieval:
    """Orders all items by nearness to the user vector, or by long-term popularity if there is no history."""

    def __init__(
        self,
        split: Split,
        catalogue: Sequence[Item],
        model: EvaluatedModel,
        settings: ListSettings,
        name: str = "recstream-retrieval",
    ) -> None:
        """See `RankedLists`."""
        self.name = name
        self._known, self._model = split.known, model
        self._replay = Replay(split, catalogue, model, settings.profiles)
        half_lives = model.manifest.popularity_half_lives_days
        self._half_life_s = half_lives[len(half_lives) // 2] * _DAY_SECONDS
        self._index = {item_id: place for place, item_id in enumerate(split.known.item_ids)}

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        scores = np.empty((len(queries), len(self._known.item_ids)), np.float32)
        entries: dict[int, Sequence[Entry]] = {}
        for batch in self._replay.batches(queries):
            for index in batch.tolist():
                folded = self._replay.folded(queries, index)
                if folded is None:
                    scores[index] = self._lasting(int(queries.time_ms[index]))
                else:
                    entries[index] = self._entries(folded)
        if entries:
            scores[list(entries)] = asyncio.run(self._users(list(entries.values()))) @ self._model.vectors.T
        return scores

    def _entries(self, folded: Folded) -> Sequence[Entry]:
        return model_history(folded.stored.profile, self._replay.profiles)

    async def _users(self, users: Sequence[Sequence[Entry]]) -> Floats:
        """User vectors [b, d]."""
        manifest, vectors = self._model.manifest, self._model.vectors
        inputs, _ = histories(users, lambda item_id: vectors[self._index[item_id]], manifest)
        folds = await self._model.model.fold(manifest.version, inputs, timeout=_TIMEOUT_SECONDS)
        return folds.states.user_vector

    def _lasting(self, now_ms: int) -> Floats:
        """Popularity of all items, weighted as in the source `popular`. Without times: all positive events."""
        catalog = self._replay.catalog
        if not self._known.timed:
            return catalog.positives.astype(np.float32)
        return catalog.popularity(now_ms, self._half_life_s)
