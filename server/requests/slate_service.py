"""Makes one slate: waits for a slot, runs the pipeline, and removes items that were withdrawn meanwhile."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from catalog.catalog import Catalog
from inference.version_routing import VersionRouting
from ranking.build import Runners
from ranking.query import ListRequest, Query
from ranking.slate.ranked import Ranked
from ranking.slate.slate_ids import SlateIds
from ranking.surfaces.in_force import SurfacesInForce
from recstream.v1 import slate_pb2
from recstream.v1.error_reason_pb2 import ERROR_REASON_CATALOGUE_LOADING
from server.errors import NotAvailable
from server.profiles.profile_reader import ProfileSnapshot
from server.requests.ranking_limiter import RankingLimiter
from server.requests.view import View
from server.settings import ServerSettings


class SlateService:
    """Makes slates, for unary calls and for streams.

    Args:
        runners: Find and rank the items of slates, or rank those that a request names.
        catalog: The catalogue, which says which items may be shown now.
        limiter: Limits how many slates are made at the same time.
        settings: The time that a slate may take.
        now_ms: The wall clock, Unix milliseconds.
        versions: Returns the current routing of users to model versions.
        surfaces: Returns the surfaces in force.
    """

    def __init__(
        self,
        *,
        runners: Runners,
        catalog: Catalog,
        limiter: RankingLimiter,
        settings: ServerSettings,
        now_ms: Callable[[], int],
        versions: Callable[[], VersionRouting],
        surfaces: Callable[[], SurfacesInForce],
    ) -> None:
        self._runners = runners
        self._catalog = catalog
        self._settings = settings
        self.now_ms = now_ms
        self._ids = SlateIds()
        self.limiter = limiter
        self.versions = versions
        self.surfaces = surfaces

    def check_ready(self) -> None:
        """Check that the catalogue has been read.

        Raises:
            NotAvailable: It is still being read.
        """
        if not self._catalog.ready:
            raise NotAvailable(
                ERROR_REASON_CATALOGUE_LOADING, "the catalogue is being read; try again after the delay", 1000
            )

    async def for_call(self, request: ListRequest, snapshot: ProfileSnapshot, deadline: float) -> Ranked:
        """Return the slate of a unary call.

        Args:
            request: The request.
            snapshot: The user's profile.
            deadline: When the slate must be ready, on `time.monotonic()`.
        """
        left = deadline - time.monotonic()
        # Half of the time may be spent waiting. Without a slot, the slate is made at once, on a cheaper tier.
        async with self.limiter.try_slot(max(0.0, left / 2)) as granted:
            return await self._rank(request, snapshot, deadline if granted else time.monotonic())

    async def for_stream(self, request: ListRequest, snapshot: ProfileSnapshot, late: float) -> Ranked:
        """Return the slate of a stream that has a slot.

        Args:
            request: The request.
            snapshot: The user's profile.
            late: How long the stream waited for its slot, in seconds.
        """
        budget = self._settings.stream_budget_ms / 1000
        # If many streams wait, the last ones soon get a slate of a lower tier, and a better one later.
        budget = min(budget, max(0.0, 8 * budget - late))
        return await self._rank(request, snapshot, time.monotonic() + budget)

    def prune(self, ranked: Ranked) -> Ranked:
        """Return the slate without the items that may not be shown now. If all may, return the same object."""
        if not len(ranked.rows):
            return ranked
        gone = np.logical_not(self._catalog.eligible(self.now_ms())[ranked.rows])
        if not gone.any():
            return ranked
        slate = without(ranked.slate, _ids(ranked.slate, gone), self._ids.next())
        outputs = ranked.outputs.where(~gone) if ranked.outputs is not None else None
        return replace(ranked, slate=slate, rows=ranked.rows[~gone], outputs=outputs)

    def show(self, ranked: Ranked, view: View) -> slate_pb2.Slate:
        """Return the slate as a client sees it, with the shown fields of its items as they are now."""
        return view.shown(ranked, self._catalog.item)

    async def _rank(self, request: ListRequest, snapshot: ProfileSnapshot, deadline: float) -> Ranked:
        query = Query(
            request=request,
            now_ms=self.now_ms(),
            stored=snapshot.stored,
            tail=snapshot.tail,
            profile_unavailable=snapshot.unavailable,
        )
        if request.item_ids:
            [ranked] = await self._runners.given.rank([query], deadline=deadline)
            return ranked
        [ranked] = await self._runners.found.rank([query], deadline=deadline)
        # An item may have been withdrawn after the filters had run.
        return self.prune(ranked)


def without(slate: slate_pb2.Slate, item_ids: Collection[str], slate_id: str) -> slate_pb2.Slate:
    """Return a copy of the slate without some items, in the same order.

    Args:
        slate: The slate. It is not changed.
        item_ids: The items to leave out.
        slate_id: The id of the copy. A copy without items has none.
    """
    shorter = slate_pb2.Slate()
    shorter.CopyFrom(slate)
    del shorter.items[:]
    shorter.items.extend(item for item in slate.items if item.item_id not in item_ids)
    shorter.slate_id = slate_id if shorter.items else ""
    return shorter


def _ids(slate: slate_pb2.Slate, mask: NDArray[np.bool_]) -> frozenset[str]:
    return frozenset(slate.items[int(at)].item_id for at in np.flatnonzero(mask))
