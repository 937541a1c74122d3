"""Read your writes: waits until a user's profile and the catalogue include given writes, or until the time is up."""

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from profiles.announcements.announcement import Announcement
from server import metrics
from server.profiles.profile_reader import UNAVAILABLE, ProfileReader, ProfileSnapshot
from server.profiles.subscriptions import Subscriptions
from server.settings import ServerSettings
from server.tokens.written import Awaited

_PROFILE_SHARE = 0.5


class ReadItems(Protocol):
    """The catalogue, as far as it says what it has read."""

    def has_changes(self, ends: Mapping[int, int]) -> bool: ...
    async def reach_changes(self, ends: Mapping[int, int]) -> None: ...


class ReadYourWrites:
    """Waits for announcements of the user's profile. They can be lost, so it also polls, at growing intervals.

    Args:
        catalog: Waits for items.
        profile_reader: Reads profiles.
        subscriptions: Subscribes to announcements.
        settings: The intervals, and the time reserved for ranking.
    """

    def __init__(
        self,
        catalog: ReadItems,
        profile_reader: ProfileReader,
        subscriptions: Subscriptions,
        settings: ServerSettings,
    ) -> None:
        self._catalog = catalog
        self._profile_reader = profile_reader
        self._subscriptions = subscriptions
        self._settings = settings

    async def snapshot(self, user_id: str, awaited: Awaited, until: float) -> tuple[ProfileSnapshot, bool]:
        """Return the user's profile, and whether it and the catalogue include all of the writes.

        The second value describes exactly the returned profile. An event of a topic that was recreated since is never
        included, because no watermark has its topic id.

        Args:
            user_id: The user.
            awaited: The writes to wait for. May be none.
            until: When to stop waiting, on `time.monotonic()`.
        """
        items_included = await self._items_included(awaited.item_ends, until)
        # A store that does not answer must not use up the time for ranking.
        seconds = self._left(until) * (1 if awaited.events or awaited.event_ids else _PROFILE_SHARE)
        snapshot = await self._profile_reader.snapshot(user_id, seconds)
        if not awaited:
            return snapshot, True
        included = _includes(snapshot, awaited)
        if not included:
            snapshot, included = await self._wait(user_id, awaited, until, snapshot)
        included = included and items_included
        metrics.READ_YOUR_WRITES_INCLUDED[included].inc()
        return snapshot, included

    def included(self, snapshot: ProfileSnapshot, awaited: Awaited) -> bool:
        """Return whether a list of this profile, made now, includes all of the writes."""
        return _includes(snapshot, awaited) and self._catalog.has_changes(awaited.item_ends)

    async def _items_included(self, ends: Mapping[int, int], until: float) -> bool:
        if self._catalog.has_changes(ends):
            return True
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._catalog.reach_changes(ends)
        except TimeoutError:
            return False
        return True

    async def _wait(
        self, user_id: str, awaited: Awaited, until: float, snapshot: ProfileSnapshot
    ) -> tuple[ProfileSnapshot, bool]:
        changed = asyncio.Event()
        newest: Announcement | None = None

        def on_announcement(announcement: Announcement) -> None:
            nonlocal newest
            if newest is None or announcement.revision > newest.revision:
                newest = announcement
            changed.set()

        pause = self._settings.read_your_writes_poll_ms / 1000
        # The subscription's confirmation is not awaited. Until it comes, polling finds the changes.
        async with self._subscriptions.subscribed_soon(user_id, on_announcement, changed):
            while (left := until - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(pause, left)):
                        await changed.wait()
                except TimeoutError:
                    pause = min(pause * 2, self._settings.read_your_writes_poll_max_ms / 1000)
                changed.clear()
                # If the announced profile lacks the events, the store is read, because it may have a newer one.
                stored = newest.stored if newest is not None and newest.revision > snapshot.revision else None
                newest = None
                if stored is not None and not awaited.in_profile(stored.profile):
                    stored = None
                latest = await self._profile_reader.snapshot(user_id, self._left(until), stored)
                snapshot = snapshot if latest is UNAVAILABLE and not snapshot.unavailable else latest
                if _includes(snapshot, awaited):
                    return snapshot, True
        return snapshot, False

    def _left(self, until: float) -> float:
        # The profile itself gets a moment even if there is no time to wait for events.
        return max(until - time.monotonic(), self._settings.ranking_reserve_ms / 2000)


def _includes(snapshot: ProfileSnapshot, awaited: Awaited) -> bool:
    return awaited.in_profile(snapshot.stored.profile if snapshot.stored else None)
