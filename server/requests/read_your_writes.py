"""Read your writes: wait until a user's profile includes given events, or until there is no more time."""

import asyncio
import time
from collections.abc import Sequence

from profiles.announcements.announcements import Announcement
from profiles.folding.events import Position
from profiles.profile import Profile
from server import metrics
from server.profiles.profile_reader import Known
from server.requests.slate_service import UNAVAILABLE, Lists
from server.settings import ServerSettings
from server.streaming.subscriptions import Subscriptions

_PROFILE_SHARE = 0.5


class After:
    """Waits on announcements; since those can be lost, it also looks by itself, at growing intervals."""

    def __init__(self, lists: Lists, subscriptions: Subscriptions, settings: ServerSettings) -> None:
        self._lists = lists
        self._subscriptions = subscriptions
        self._settings = settings

    async def known(self, user_id: str, after: Sequence[Position], until: float) -> tuple[Known, bool]:
        """The profile, and whether it includes all the events. `until` is on time.monotonic().

        The answer is true only of the very profile that is returned: a token of a topic that was made anew has
        another id than any watermark, and never matches.
        """
        # A store that does not answer must not eat the time of what comes after.
        known = await self._lists.known(user_id, self._left(until) * (1 if after else _PROFILE_SHARE))
        if _includes(known, after):
            if after:
                metrics.AFTER_INCLUDED[True].inc()
            return known, True
        known, included = await self._wait(user_id, after, until, known)
        metrics.AFTER_INCLUDED[included].inc()
        return known, included

    async def _wait(
        self, user_id: str, after: Sequence[Position], until: float, known: Known
    ) -> tuple[Known, bool]:
        changed = asyncio.Event()

        newest: Announcement | None = None

        def announced(announcement: Announcement) -> None:
            nonlocal newest
            if newest is None or announcement.revision > newest.revision:
                newest = announcement
            changed.set()

        pause = self._settings.after_poll_ms / 1000
        # Not waited for: until it is confirmed, looking by itself does.
        async with self._subscriptions.soon_heard(user_id, announced, changed):
            while (left := until - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(pause, left)):
                        await changed.wait()
                except TimeoutError:
                    pause = min(pause * 2, self._settings.after_poll_max_ms / 1000)
                changed.clear()
                # Where it does not have the events, the store may: then it is read.
                stored = newest.stored if newest is not None and newest.revision > known.revision else None
                newest = None
                if stored is not None and not _has(stored.profile, after):
                    stored = None
                latest = await self._lists.known(user_id, self._left(until), stored)
                known = known if latest is UNAVAILABLE and not known.unavailable else latest
                if _includes(known, after):
                    return known, True
        return known, False

    def _left(self, until: float) -> float:
        # A profile is worth a moment even where there is no time to wait for events.
        return max(until - time.monotonic(), self._settings.ranking_reserve_ms / 2000)


def _includes(known: Known, after: Sequence[Position]) -> bool:
    if not after:
        return True
    if known.stored is None:
        return False
    return _has(known.stored.profile, after)


def _has(profile: Profile, after: Sequence[Position]) -> bool:
    return all(profile.includes(position) for position in after)
