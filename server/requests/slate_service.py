"""Making one list: the profile, a turn, the pipeline, and a last look at what was withdrawn meanwhile."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import structlog
from numpy.typing import NDArray

from catalog.catalog import Catalog
from profiles.errors import StoreUnavailable
from profiles.profile import Stored
from ranking.metrics import Labels
from ranking.query import ListRequest, Query
from ranking.runner import Runner
from ranking.slate.ranked import Ranked
from ranking.slate.slate_ids import SlateIds
from server import metrics
from server.errors import NotAvailable
from server.profiles.profile_reader import Known, Reads
from server.requests.ranking_limiter import Turns
from server.settings import ServerSettings
from server.streaming.frames import without
from telemetry.tracing.spans import SpanKind, child

log = structlog.get_logger()
_READING = {"db.system.name": "valkey", "db.operation.name": "GET"}
UNAVAILABLE = Known(None, None, unavailable=True)


class Lists:
    """Knows how to answer "what should this user see". `now_ms` is the wall clock in Unix milliseconds."""

    def __init__(
        self,
        reads: Reads,
        runner: Runner,
        catalog: Catalog,
        turns: Turns,
        settings: ServerSettings,
        now_ms: Callable[[], int],
        labels: Labels,
    ) -> None:
        self._reads = reads
        self._runner = runner
        self._catalog = catalog
        self._settings = settings
        self.now_ms = now_ms
        self._ids = SlateIds()
        self.turns = turns
        self.labels = labels

    def check_ready(self) -> None:
        """Raises NotAvailable while the catalogue is not whole."""
        if not self._catalog.ready:
            raise NotAvailable(
                "CATALOGUE_LOADING", "the catalogue is being read; try again after the delay", 1000
            )

    async def known(self, user_id: str, seconds: float, announced: Stored | None = None) -> Known:
        """The profile, or UNAVAILABLE if it does not come within this time. Never raises for the store.

        `announced`: the profile as it came with an announcement. It is not read again, unless it has expired: then
        the store, which goes by its own clock, may not have it. Its tail is.
        """
        current = announced is not None and announced.profile.expires_at_ms > self.now_ms()
        try:
            async with asyncio.timeout(min(seconds, self._settings.profile_wait_ms / 1000)):
                if announced is not None and current:
                    tail = await self._reads.tail(user_id) if announced.profile.has_tail else None
                    metrics.PROFILES_ANNOUNCED.inc()
                    return Known(announced, tail)
                with child("GET profiles", SpanKind.CLIENT, _READING):
                    return await self._reads.read(user_id)
        except (StoreUnavailable, TimeoutError):
            metrics.PROFILES_UNAVAILABLE.inc()
            return UNAVAILABLE

    async def for_call(self, request: ListRequest, known: Known, deadline: float) -> Ranked:
        """A list for a unary answer, there by the deadline (time.monotonic())."""
        left = deadline - time.monotonic()
        # Half of what is left may go into waiting; without a turn the ladder's lowest step is cheap enough.
        async with self.turns.within(max(0.0, left / 2)) as mine:
            return await self._rank(request, known, deadline if mine else time.monotonic())

    async def for_stream(self, request: ListRequest, known: Known, late: float) -> Ranked:
        """A list for a stream, whose turn has come `late` seconds after it was due."""
        budget = self._settings.stream_budget_ms / 1000
        # In a crowd the last ones get a simpler list soon, and a better one when there is time.
        budget = min(budget, max(0.0, 8 * budget - late))
        return await self._rank(request, known, time.monotonic() + budget)

    def gone(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these catalogue rows may not be shown now."""
        if not len(rows):
            return np.zeros(0, bool)
        return np.logical_not(self._catalog.eligible(self.now_ms())[rows])

    def prune(self, ranked: Ranked) -> Ranked:
        """The list without what may not be shown now; the same object where all may."""
        gone = self.gone(ranked.rows)
        if not gone.any():
            return ranked
        ids = frozenset(ranked.slate.items[int(at)].item_id for at in np.flatnonzero(gone))
        slate = without(ranked.slate, ids, self._ids.next())
        return Ranked(slate, ranked.rows[~gone], ranked.remaining)

    async def _rank(self, request: ListRequest, known: Known, deadline: float) -> Ranked:
        query = Query(
            request=request,
            now_ms=self.now_ms(),
            stored=known.stored,
            tail=known.tail,
            profile_unavailable=known.unavailable,
        )
        [ranked] = await self._runner.rank([query], deadline=deadline)
        # An item may have been withdrawn since the filters looked.
        return self.prune(ranked)
