"""The runner: runs a batch of queries through the stages, within a deadline.

It knows no stage by name. `ranking.build` lists them, and `ranking.stages` defines what each kind does.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from catalog.in_memory import InMemoryCatalog
from ranking import metrics
from ranking.candidates import Candidates, Retrieved, Scored, Selection, merge
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls
from ranking.deadline.fallbacks import fall_back
from ranking.deadline.ladder import Ladder
from ranking.metrics import timed
from ranking.query import HydratedQuery, Mask, Query, Rows
from ranking.settings import RankingSettings
from ranking.slate.assemble import assemble
from ranking.slate.ranked import Ranked
from ranking.slate.slate_ids import SlateIds
from ranking.stages import (
    CandidateHydrator,
    Explainer,
    Explanations,
    Filter,
    QueryHydrator,
    Scorer,
    Selector,
    SideEffect,
    Source,
)
from recstream.v1 import slate_pb2
from telemetry.faults import hold_back

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a list, in the order in which they run.

    Attributes:
        filters: All filters as one.
        sources: The sources. A candidate belongs to the first one that retrieves it.
        scorers: The deadline ladder, best first. The last one needs no user and no model.
    """

    query_hydrator: QueryHydrator
    filters: Filter
    sources: Sequence[Source]
    candidate_hydrator: CandidateHydrator
    scorers: Sequence[Scorer]
    selector: Selector
    explainer: Explainer
    side_effects: Sequence[SideEffect]


class Runner:
    """Makes lists. It keeps no state of a query. Close it when no query is in progress."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        stages: Stages,
        settings: RankingSettings,
        calls: Calls,
        slate_ids: SlateIds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        catalog: The catalogue.
        stages: The stages.
        settings: How the time of a list is divided.
        calls: The calls of these stages to the model. `close` cancels them.
        slate_ids: Generates the ids of lists.
        clock: The clock of deadlines, in seconds: the event loop's time.
        """
        self._catalog = catalog
        self._stages = stages
        self._ladder = Ladder(stages.scorers)
        self._settings = settings
        self._calls = calls
        self._ids = slate_ids
        self._clock = clock

    async def rank(self, queries: Sequence[Query], *, deadline: float = math.inf) -> list[Ranked]:
        """Makes a list for each query of a batch.

        Args:
            queries: The queries. Their moments may differ.
            deadline: Time on the clock, in seconds, by which the whole batch is done. Each list is of the best tier
                that the time and the model allow. If the deadline has passed, the lists are made at once. Infinity:
                they take as long as they need.

        Returns:
            The lists, in the order of the queries. A model that fails or is late causes no exception.
        """
        began = time.perf_counter()
        settings = self._settings
        budget = Budget(deadline, self._clock).reserve(settings.reserve_ms / 1000)
        hydrated = await self._hydrated(queries, budget)
        model_budget = budget.share(1, settings.model_timeout_ms / 1000)
        # The reasons' calls to the model run while candidates are retrieved and scored.
        explanations = self._begun_explanations(hydrated, model_budget)
        try:
            scored = await self._scored(hydrated, model_budget)
            with timed("select"):
                scored = self._still_allowed(hydrated, scored)
                selections = self._stages.selector.select(hydrated, scored)
            with timed("slate"):
                seconds = budget.left(settings.reasons_wait_ms / 1000)
                reasons = await _reasons(explanations, scored, selections, seconds)
                lists = [
                    assemble(self._catalog, query, self._ids.next(), each, selection, why)
                    for query, each, selection, why in zip(hydrated, scored, selections, reasons, strict=True)
                ]
        except BaseException:
            if explanations is not None:
                explanations.cancel()
            raise
        for effect in self._stages.side_effects:
            try:
                effect.ranked(hydrated, lists, time.perf_counter() - began)
            except Exception as error:  # The lists are made, so a failed side effect does not matter to them.
                hold_back("ranking", error, without=type(effect).__name__)
        return lists

    async def score(self, queries: Sequence[Query], *, deadline: float = math.inf) -> list[Scored]:
        """Scores all candidates of each query, without selecting any. Evaluation uses it.

        Args:
            queries, deadline: See `rank`.
        """
        settings = self._settings
        budget = Budget(deadline, self._clock).reserve(settings.reserve_ms / 1000)
        hydrated = await self._hydrated(queries, budget)
        return await self._scored(hydrated, budget.share(1, settings.model_timeout_ms / 1000))

    async def close(self) -> None:
        """Cancels calls to the model that are still in flight."""
        await self._calls.close()

    async def _hydrated(self, queries: Sequence[Query], budget: Budget) -> list[HydratedQuery]:
        settings = self._settings
        with timed("hydrate"):
            return await self._stages.query_hydrator.hydrate(
                queries, budget.share(settings.refold_share, settings.model_timeout_ms / 1000)
            )

    async def _scored(self, queries: Sequence[HydratedQuery], budget: Budget) -> list[Scored]:
        with timed("filter"):
            allowed = self._stages.filters.masks(queries, self._catalog.size)
        with timed("source"):
            retrieved = await self._retrieved(queries, allowed, budget)
            candidates = self._stages.candidate_hydrator.hydrate(queries, retrieved)
        with timed("score"):
            scores = await self._ladder.score(queries, candidates, budget)
        return [
            Scored(each, some, int(np.count_nonzero(mask)))
            for each, some, mask in zip(candidates, scores, allowed, strict=True)
        ]

    async def _retrieved(
        self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask], budget: Budget
    ) -> list[Candidates]:
        """Returns the union of what the sources retrieve, for each query. A source that raises, exceeds the budget, or
        returns rows that cannot be, is counted and left out. The list is made from the others."""
        sources = self._stages.sources
        tasks = [asyncio.create_task(source.retrieve(queries, allowed)) for source in sources]
        try:
            # Without time left, each source still runs once. Sources that wait for nothing are done then.
            await asyncio.wait(tasks, timeout=budget.left())
        finally:
            for task in tasks:
                task.cancel()
        found: list[list[Retrieved]] = [[] for _ in queries]
        for source, task in zip(sources, tasks, strict=True):
            lists = _retrieved_by(source, task, allowed)
            if lists is None:
                metrics.SOURCE_FAILURES.labels(source.name).inc()
                continue
            for some, rows in zip(found, lists, strict=True):
                some.append(Retrieved(source.name, rows))
        candidates = [merge(some) for some in found]
        for each in candidates:
            counts = np.bincount(each.sources, minlength=len(each.names)).tolist()
            for name, count in zip(each.names, counts, strict=True):
                metrics.CANDIDATES.labels(name).inc(count)
        return candidates

    def _begun_explanations(self, queries: Sequence[HydratedQuery], budget: Budget) -> Explanations | None:
        """The explanations of the batch; None if they cannot even begin."""
        try:
            return self._stages.explainer.begin(queries, budget)
        except Exception as error:
            fall_back("reasons", error, len(queries))
            return None

    def _still_allowed(self, queries: Sequence[HydratedQuery], scored: Sequence[Scored]) -> list[Scored]:
        """Keeps the candidates that the filters still allow after the time that scoring took."""
        masks = self._stages.filters.still_allowed(queries, [each.candidates.rows for each in scored])
        metrics.DROPPED_LATE.inc(sum(len(mask) - int(np.count_nonzero(mask)) for mask in masks))
        return [each.where(mask) for each, mask in zip(scored, masks, strict=True)]


def _retrieved_by(
    source: Source, task: "asyncio.Task[list[Rows]]", allowed: Sequence[Mask]
) -> list[Rows] | None:
    """What the source retrieved for each query; None: nothing that can be used."""
    if not task.done() or task.cancelled():
        log.warning("source_late", source=source.name)
        return None
    try:
        lists = task.result()
        if len(lists) != len(allowed):
            raise ValueError(f"the source returned {len(lists)} lists for {len(allowed)} queries")
        for rows, mask in zip(lists, allowed, strict=True):
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(mask):
                raise ValueError(f"the source returned rows {rows.min()} to {rows.max()} of {len(mask)}")
        return lists
    except Exception as error:
        hold_back("ranking", error, without=source.name)
        return None


async def _reasons(
    explanations: Explanations | None,
    scored: Sequence[Scored],
    selections: Sequence[Selection],
    seconds: float,
) -> list[list[slate_pb2.Reason]]:
    """A reason for each listed item of each query: an empty one where the explainer fails. It costs the lists their
    reasons, and nothing else."""
    counts = [len(selection.chosen) for selection in selections]
    if explanations is not None:
        try:
            found = await explanations.reasons(scored, selections, seconds)
            if [len(each) for each in found] != counts:
                raise ValueError(
                    f"the explainer returned {list(map(len, found))} reasons for lists of {counts}"
                )
            return found
        except Exception as error:
            fall_back("reasons", error, len(selections))
    return [[slate_pb2.Reason()] * count for count in counts]
