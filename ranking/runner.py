"""The runner: the stages in their order, their time, and the deadline."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.in_memory import InMemoryCatalog
from inference.model import Floats, Model
from inference.version_labels import OTHER
from inference.version_routing import Pointer
from profiles.actions import Actions, ProfileSettings
from profiles.folding.tail import Tail
from profiles.profile import Stored
from ranking import metrics
from ranking.candidates import Candidates
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls
from ranking.deadline.ladder import Ladder
from ranking.deadline.stopwatch import Stopwatch
from ranking.filters.eligible import Eligible
from ranking.filters.filter import Filters
from ranking.filters.requested import Requested
from ranking.filters.taken import Taken
from ranking.hydration.history_encoder import Folds, Parts
from ranking.hydration.hydrate import Hydrator
from ranking.popularity import Popularity
from ranking.query import Query
from ranking.request import DEFAULT_SURFACE, ListRequest
from ranking.scorers.ranker import Ranker
from ranking.scorers.scores import Scores
from ranking.selectors.selector import Selection, select
from ranking.settings import RankingSettings
from ranking.similar_items import SimilarItems
from ranking.slate import message as slate
from ranking.slate.labels import Labels
from ranking.slate.ranked import Ranked, SimilarList
from ranking.slate.reasons import Reasons
from ranking.slate.slate_ids import SlateIds
from ranking.sources.fresh import Fresh, is_fresh
from ranking.sources.nearest import Nearest
from ranking.sources.popular import Popular
from ranking.sources.retrieve import propose
from ranking.sources.similar import Similar
from ranking.sources.source import Source
from ranking.sources.trending import Trending
from recstream.v1 import filter_pb2, slate_pb2

_TIERS = {value: name.removeprefix("TIER_").lower() for name, value in slate_pb2.Tier.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Candidates with their scores [m] and vectors [m, d], and how many items were allowed."""

    candidates: Candidates
    scores: Scores
    vectors: Floats
    allowed: int


class Pipeline:
    """Makes lists. Holds no state of a request; close it when no request is in it any more."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        model: Model,
        pointer: Callable[[], Pointer],
        profiles: ProfileSettings,
        settings: RankingSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`pointer` tells which model version answers whom now; where none does, lists are popular ones. `clock`
        is in Unix seconds, and looked at where a request does not name its moment."""
        actions = Actions(profiles.actions)
        self._catalog = catalog
        self._settings = settings
        self._surfaces = {name: settings.surface(name) for name in (DEFAULT_SURFACE, *settings.surfaces)}
        self.labels = Labels(self._surfaces, pointer)
        for tier in metrics.TIERS:
            for name in (*self._surfaces, OTHER):
                metrics.LISTS.labels(tier, name)  # there from the start, at zero
        self._clock = clock
        self._calls = Calls()
        self._ids = SlateIds(clock)
        popularity = Popularity(catalog, settings.trending_half_life_hours * 3600)
        self._popularity = popularity
        folds = Folds(
            catalog,
            model,
            self._calls,
            actions,
            kept=settings.folds_kept,
            reasons_events=settings.reasons_events,
        )
        self._hydrator = Hydrator(catalog, folds, self._calls, pointer, profiles)
        self._filters = Filters((Eligible(catalog), Requested(catalog), Taken()))
        self._sources: Sequence[Source] = (
            Nearest(catalog),
            Similar(catalog),
            Trending(popularity),
            Popular(popularity),
            Fresh(catalog),
        )
        self._ladder = Ladder(Ranker(catalog, model, self._calls, popularity, actions), popularity)
        self._reasons = Reasons(catalog, folds, self._calls)
        self._similar = SimilarItems(catalog, popularity, self._filters, pointer)

    async def rank(
        self,
        request: ListRequest,
        stored: Stored | None,
        tail: Tail | None,
        *,
        deadline: float,
        unavailable: bool = False,
    ) -> Ranked:
        """The list for this request.

        stored, tail: the user's profile and the tail of what he took; None where there is none.
        deadline: on time.monotonic(), seconds. The list is there before it, on the best tier that time
        and model allow, however late it is already.
        unavailable: the profile could not be read. The list is a popular one and says so.
        """
        settings = self._settings
        watch = Stopwatch()
        whole = Budget(deadline)
        budget = Budget(deadline - min(settings.reserve_ms / 1000, whole.left() / 3))
        surface = request.surface if request.surface in self._surfaces else DEFAULT_SURFACE
        with watch.stage("hydrate"):
            query = await self._hydrator.hydrate(
                request,
                stored,
                tail,
                self._surfaces[surface],
                self._moment_ms(request),
                budget.share(settings.refold_share, settings.model_timeout_ms / 1000),
                unavailable=unavailable,
            )
        # The fold for the reasons is on its way while the candidates are found and scored.
        model_budget = budget.share(1, settings.model_timeout_ms / 1000)
        explanation = self._reasons.begin(query, model_budget)
        try:
            scored = await self._scored(query, model_budget, watch)
            with watch.stage("select"):
                selection = self._select(query, scored)
            with watch.stage("slate"):
                parts = await self._reasons.finish(explanation, budget.left(settings.reasons_wait_ms / 1000))
                ranked = self._slate(query, scored, selection, parts)
        except BaseException:
            if explanation.task is not None:
                explanation.task.cancel()
            raise
        version = self.labels.version(ranked.slate.model_version)
        watch.stop(version)
        metrics.LISTS.labels(_TIERS[ranked.slate.tier], self.labels.surface(request.surface)).inc()
        metrics.LISTS_BY_VERSION.labels(version).inc()
        return ranked

    async def similar(
        self,
        item_id: str,
        count: int,
        *,
        filter: filter_pb2.Filter | None = None,
        domain: str = "",
        excluded: frozenset[str] = frozenset(),
        as_of_ms: int | None = None,
    ) -> SimilarList:
        """Items like this one, nearest first. Raises ItemUnknown."""
        request = ListRequest("", count, DEFAULT_SURFACE, domain, filter, excluded, as_of_ms=as_of_ms)
        return self._similar.find(item_id, request, self._surfaces[DEFAULT_SURFACE], self._moment_ms(request))

    async def close(self) -> None:
        """Ends calls to the model that nobody waits for any more."""
        await self._calls.close()

    def _moment_ms(self, request: ListRequest) -> int:
        return int(self._clock() * 1000) if request.as_of_ms is None else request.as_of_ms

    async def _scored(self, query: Query, budget: Budget, watch: Stopwatch) -> _Scored:
        with watch.stage("filter"):
            allowed = self._filters.mask(query, self._catalog.size)
        with watch.stage("source"):
            candidates = await propose(self._sources, query, allowed, budget)
            counts = np.bincount(candidates.sources, minlength=len(candidates.names)).tolist()
            for name, count in zip(candidates.names, counts, strict=True):
                metrics.CANDIDATES.labels(name).inc(count)
            version = query.user.version if query.user is not None else 0
            vectors = (
                self._catalog.vectors(version, candidates.rows)
                if version
                else np.zeros((len(candidates), 1), np.float32)
            )
        with watch.stage("score"):
            scores = await self._ladder.score(query, candidates.rows, vectors, budget)
        return _Scored(candidates, scores, vectors, int(np.count_nonzero(allowed)))

    def _select(self, query: Query, scored: _Scored) -> Selection:
        """Who of the candidates is listed."""
        rows = scored.candidates.rows
        still = np.flatnonzero(self._filters.still(query, rows, self._moment_ms(query.request)))
        metrics.DROPPED_LATE.inc(len(rows) - len(still))
        rows = rows[still]
        selection = select(
            scored.scores.values[still],
            lambda place: self._catalog.item_id(rows[place]),
            self._catalog.main_category(rows),
            is_fresh(self._catalog.published_ms[rows], query.now_ms, query.settings.fresh_days),
            query.request.count,
            query.settings,
        )
        return Selection(still[selection.chosen], selection.explored)

    def _slate(self, query: Query, scored: _Scored, selection: Selection, parts: Parts | None) -> Ranked:
        candidates, chosen = scored.candidates, selection.chosen
        rows = candidates.rows[chosen]
        sources = [
            Fresh.name if explored else candidates.names[place]
            for place, explored in zip(
                candidates.sources[chosen].tolist(), selection.explored.tolist(), strict=True
            )
        ]
        reasons = self._reasons.explain(
            query,
            parts,
            scored.vectors[chosen],
            is_fresh(self._catalog.published_ms[rows], query.now_ms, query.settings.fresh_days),
            selection.explored,
            self._popularity.trend(query.now_ms)[rows],
        )
        ids = [self._catalog.item_id(row) for row in rows.tolist()]
        made = slate.build(query, self._ids.next(), ids, sources, reasons, scored.scores, chosen)
        for name in candidates.names:
            metrics.PLACES.labels(name).inc(sources.count(name))
        return Ranked(made, rows, max(0, scored.allowed - len(rows)))
