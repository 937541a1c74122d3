"""Reasons: explains from the model why an item is on the list.

The user vector is a sum of contributions, one for each event of the history. An item's inner product with the user
vector is therefore a sum of one term per event, and the item of the history with the largest term is the reason. Only
the newest events are considered (`reasons_events`). Older ones have decayed, and folding them again with every new
event would cost more than it is worth.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from catalog.in_memory import InMemoryCatalog
from inference.bundle.bundle import Manifest
from inference.model import Floats, ModelUnavailable
from ranking import metrics
from ranking.candidates import Scored, Selection
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls
from ranking.deadline.fallbacks import fall_back
from ranking.hydration.history_encoder import Contributions, HistoryEncoder, UserHistory
from ranking.popularity import Popularity
from ranking.query import HydratedQuery
from ranking.sources.fresh import is_fresh
from recstream.v1 import slate_pb2

_TITLE_LIMIT: Final = 200
_TRENDING_FROM: Final = 0.5
"""An item with at least this many positive events, weighted by age, is `Popular now`."""
_PLACED: Final = {slate_pb2.REASON_KIND_PINNED, slate_pb2.REASON_KIND_PROMOTED}
"""A rule placed the item."""
_TEXTS: Final = {
    slate_pb2.REASON_KIND_UNSPECIFIED: "",
    slate_pb2.REASON_KIND_TRENDING: "Popular now",
    slate_pb2.REASON_KIND_FRESH: "New",
    slate_pb2.REASON_KIND_PINNED: "Pinned",
    slate_pb2.REASON_KIND_PROMOTED: "Promoted",
}


class Reasons:
    """Explains lists by contributions of the history, by trends, and by newness."""

    def __init__(
        self, catalog: InMemoryCatalog, encoder: HistoryEncoder, calls: Calls, popularity: Popularity
    ) -> None:
        self._catalog = catalog
        self._encoder = encoder
        self._calls = calls
        self._popularity = popularity

    def begin(self, queries: Sequence[HydratedQuery], budget: Budget) -> "BegunReasons":
        """Looks up contributions in the cache, and starts to fold the other histories. See `Explainer.begin`."""
        found: dict[int, Contributions] = {}
        wanted: dict[int, tuple[Manifest, list[int], list[UserHistory]]] = {}
        for index, query in enumerate(queries):
            if query.user is None or query.manifest is None or not query.positives or not query.model_history:
                continue
            user = UserHistory(query.request.user_id, query.model_history)
            if (cached := self._encoder.cached_contributions(user, query.user.version)) is not None:
                found[index] = cached
            # If the user is behind, a fold of this history has just failed. It is not tried a second time.
            elif not query.user.behind and budget.left() > 0:
                _, indices, users = wanted.setdefault(query.user.version, (query.manifest, [], []))
                indices.append(index)
                users.append(user)
        seconds = budget.left()
        tasks = [
            (indices, self._encoder.begin_contributions(manifest, users, seconds))
            for manifest, indices, users in wanted.values()
        ]
        return BegunReasons(self, queries, found, tasks)

    async def wait(self, tasks: "Sequence[asyncio.Task[list[Contributions | None]]]", seconds: float) -> None:
        """Waits for these for at most `seconds`. Later results are in the cache for the next list."""
        await self._calls.finished(tasks, seconds)

    def explain(
        self,
        query: HydratedQuery,
        contributions: Contributions | None,
        scored: Scored,
        selection: Selection,
    ) -> list[slate_pb2.Reason]:
        """Returns a reason for each of the k listed items.

        The reason of an item that a rule placed, or that has a position for new items, is just that. Otherwise it is
        the other item of the history that contributed most. If none contributed, it is that the item is popular now, or
        that it is new, or there is no reason. Items with the same reason share its message.
        """
        rows = scored.candidates.rows[selection.chosen]
        item_ids = [self._catalog.item_id(row) for row in rows.tolist()]
        because = _because(query, contributions, item_ids, scored.candidates.vectors[selection.chosen])
        trend = self._popularity.trend(query.now_ms)[rows]
        fresh = is_fresh(self._catalog.published_ms[rows], query.now_ms, query.settings.fresh_days)
        reasons = []
        shared: dict[tuple[int, str, str], slate_pb2.Reason] = {}  # A long list has few different reasons.
        for at, (item_id, placed_by, rule) in enumerate(
            zip(because, selection.placed_by, selection.rules, strict=True)
        ):
            by_order = placed_by == slate_pb2.REASON_KIND_UNSPECIFIED
            if placed_by in _PLACED:
                key = placed_by, "", rule
            elif item_id and by_order:
                key = slate_pb2.REASON_KIND_BECAUSE_OF, item_id, rule
            elif trend[at] >= _TRENDING_FROM and by_order:
                key = slate_pb2.REASON_KIND_TRENDING, "", rule
            elif fresh[at]:
                key = slate_pb2.REASON_KIND_FRESH, "", rule
            else:
                key = slate_pb2.REASON_KIND_UNSPECIFIED, "", rule
            if (reason := shared.get(key)) is None:
                text = f"Because of {self._title(item_id)}" if key[1] else _TEXTS[key[0]]
                reason = shared[key] = slate_pb2.Reason(kind=key[0], item_id=key[1], text=text, rule=rule)
            reasons.append(reason)
        return reasons

    def _title(self, item_id: str) -> str:
        row = self._catalog.row(item_id)
        title = self._catalog.item(row).title if row is not None else ""
        return (title or item_id)[:_TITLE_LIMIT]


class BegunReasons:
    """The reasons of a batch: contributions from the cache, and those that are being folded."""

    def __init__(
        self,
        reasons: Reasons,
        queries: Sequence[HydratedQuery],
        found: dict[int, Contributions],
        tasks: "Sequence[tuple[list[int], asyncio.Task[list[Contributions | None]]]]",
    ) -> None:
        self._reasons = reasons
        self._queries = queries
        self._found = found
        self._tasks = tasks

    async def reasons(
        self, scored: Sequence[Scored], selections: Sequence[Selection], seconds: float
    ) -> list[list[slate_pb2.Reason]]:
        """See `Explanations.reasons`."""
        await self._reasons.wait([task for _, task in self._tasks], seconds)
        for indices, task in self._tasks:
            self._take(indices, task)
        return [
            self._reasons.explain(query, self._found.get(index), each, selection)
            for index, (query, each, selection) in enumerate(
                zip(self._queries, scored, selections, strict=True)
            )
        ]

    def cancel(self) -> None:
        """See `Explanations.cancel`."""
        for _, task in self._tasks:
            task.cancel()

    def _take(self, indices: Sequence[int], task: "asyncio.Task[list[Contributions | None]]") -> None:
        """Takes the task's results, if it is done."""
        if not task.done():
            metrics.FALLBACKS.labels("reasons", "late").inc(len(indices))
            return
        if task.cancelled():
            return
        if (error := task.exception()) is not None:  # These users get lists without reasons.
            fall_back("reasons", error, len(indices))
            return
        for index, contributions in zip(indices, task.result(), strict=True):
            if contributions is not None:
                self._found[index] = contributions
            else:
                fall_back("reasons", ModelUnavailable())


def _because(
    query: HydratedQuery, contributions: Contributions | None, item_ids: Sequence[str], vectors: Floats
) -> Sequence[str]:
    """For each of k items with vectors [k, d], the item of the history that contributed most to its score. Empty: none
    did."""
    nothing = [""] * len(vectors)
    if contributions is None or not len(vectors) or vectors.shape[1] != contributions.vectors.shape[1]:
        return nothing
    # The newest event on an item decides. An item that was liked and then disliked is not a reason.
    spoken = set(query.positives)
    at = [index for index, item_id in enumerate(contributions.items) if item_id in spoken]
    if not at:
        return nothing
    terms = contributions.vectors[at] @ vectors.T
    # No item is its own reason, though one that the user acted on may be listed.
    listed = {item_id: column for column, item_id in enumerate(item_ids)}
    for row, index in enumerate(at):
        if (column := listed.get(contributions.items[index])) is not None:
            terms[row, column] = 0
    best = terms.argmax(axis=0)
    carried = terms[best, np.arange(len(vectors))] > 0
    return [contributions.items[at[b]] if c else "" for b, c in zip(best, carried, strict=True)]
