"""Why an item is on the list, in the model's own terms.

The user vector is a sum of what each event of the history contributed, so an item's inner product with
the user's vector falls apart into one term an event. The item of the history with the largest term
carried most of the score. Only the newest events are looked at (`reasons_events`): what is older has decayed,
and folding it with every new event would cost more than it tells.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from catalog.in_memory import InMemoryCatalog
from inference.model import Floats, ModelUnavailable
from ranking import metrics
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls
from ranking.deadline.faults import log_fault
from ranking.hydration.history_encoder import Folds, Parts
from ranking.query import Mask, Query
from recstream.v1 import slate_pb2

_TITLE_LIMIT: Final = 200
_TRENDING_FROM: Final = 0.5
"""Positive events, weighed by age, from which on `Popular now` is true."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The contributions that reasons are read from: at hand, on their way, or neither."""

    parts: Parts | None = None
    task: "asyncio.Task[Parts] | None" = None


class Reasons:
    """Finds reasons, without ever holding up a list."""

    def __init__(self, catalog: InMemoryCatalog, folds: Folds, calls: Calls) -> None:
        self._catalog = catalog
        self._folds = folds
        self._calls = calls

    def begin(self, query: Query, budget: Budget) -> Explanation:
        """Starts the fold that the reasons need, so that it is under way while the candidates are scored."""
        if query.user is None or query.manifest is None or not query.positives:
            return Explanation()
        user_id, entries = query.request.user_id, query.model_history
        if not entries:
            return Explanation()
        if parts := self._folds.remembered_parts(user_id, query.user.version, entries):
            return Explanation(parts)
        # Behind: this history was sent to the model just now, in vain. Once is enough.
        if query.user.behind or (seconds := budget.left()) <= 0:
            return Explanation()
        return Explanation(task=self._folds.begin_parts(user_id, query.manifest, entries, seconds))

    async def finish(self, explanation: Explanation, seconds: float) -> Parts | None:
        """The contributions, if they are there within these seconds. Later ones serve the next list."""
        task = explanation.task
        if task is None:
            return explanation.parts
        try:
            if await self._calls.peek(task, seconds):
                return None if task.cancelled() else task.result()
            metrics.STEPS_DOWN.labels("reasons", "late").inc()
        except ModelUnavailable:
            metrics.STEPS_DOWN.labels("reasons", "unavailable").inc()
        except Exception as error:  # a fault of ours costs the user the reasons, not the list
            metrics.STEPS_DOWN.labels("reasons", "fault").inc()
            log_fault("reasons_failed", error)
        return None

    def explain(
        self, query: Query, parts: Parts | None, vectors: Floats, fresh: Mask, explored: Mask, trend: Floats
    ) -> list[slate_pb2.Reason]:
        """A reason for each of k listed items with these vectors [k, d].

        Items that the exploration brought (explored [k]) are new and nothing else. Otherwise the
        history's item that carried most; where none speaks for it: many act on it now (trend [k]), it is
        new (fresh [k]), or none.
        """
        items = self._because(query, parts, vectors)
        reasons = []
        for place, item_id in enumerate(items):
            if item_id and not explored[place]:
                text = f"Because of {self._title(item_id)}"
                reasons.append(
                    slate_pb2.Reason(kind=slate_pb2.REASON_KIND_BECAUSE_OF, item_id=item_id, text=text)
                )
            elif trend[place] >= _TRENDING_FROM and not explored[place]:
                reasons.append(slate_pb2.Reason(kind=slate_pb2.REASON_KIND_TRENDING, text="Popular now"))
            elif fresh[place]:
                reasons.append(slate_pb2.Reason(kind=slate_pb2.REASON_KIND_FRESH, text="New"))
            else:
                reasons.append(slate_pb2.Reason())
        return reasons

    def _because(self, query: Query, parts: Parts | None, vectors: Floats) -> Sequence[str]:
        """For each vector the item of the history that carried most of its score; empty if none carried
        any."""
        nothing = [""] * len(vectors)
        if parts is None or not len(vectors):
            return nothing
        # An item's last word counts: one that was liked, then disliked, is no reason.
        spoken = set(query.positives)
        places = [place for place, item_id in enumerate(parts.items) if item_id in spoken]
        if not places:
            return nothing
        terms = parts.contributions[places] @ vectors.T
        best = terms.argmax(axis=0)
        carried = terms[best, np.arange(len(vectors))] > 0
        return [parts.items[places[b]] if c else "" for b, c in zip(best, carried, strict=True)]

    def _title(self, item_id: str) -> str:
        row = self._catalog.row(item_id)
        title = self._catalog.item(row).title if row is not None else ""
        return (title or item_id)[:_TITLE_LIMIT]
