"""Reads profiles. Callers in the same turn of the event loop share one round trip to the store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from profiles.errors import StoreUnavailable
from profiles.folding.tail import Tail
from profiles.profile import Stored
from profiles.store.store import ProfileStore
from server import metrics
from server.settings import ServerSettings
from telemetry.tracing.spans import SpanKind, child

MAX_BATCH: Final = 256
"""Most users in one round trip."""
_SPAN: Final = {"db.system.name": "valkey", "db.operation.name": "GET"}


@dataclass(frozen=True, slots=True)
class ProfileSnapshot:
    """A user's profile at the time of reading.

    Attributes:
        stored: The profile. None: the user has none or, if `unavailable`, it could not be read.
        tail: The items that the user consumed before the history begins, if the profile has such a tail.
        unavailable: Whether the store did not answer in time.
    """

    stored: Stored | None
    tail: Tail | None = None
    unavailable: bool = False

    @property
    def revision(self) -> int:
        """The profile's revision. 0 without a profile."""
        return self.stored.revision if self.stored else 0


UNAVAILABLE: Final = ProfileSnapshot(None, None, unavailable=True)


class ProfileReader:
    """Reads profiles and their tails in batches. No read is delayed to form a larger batch.

    Args:
        store: The store of profiles.
        settings: How long to wait for a profile.
        now_ms: The wall clock, Unix milliseconds.
    """

    def __init__(self, store: ProfileStore, settings: ServerSettings, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._wait_seconds = settings.profile_wait_ms / 1000
        self._now_ms = now_ms
        self._asked: dict[str, asyncio.Future[ProfileSnapshot]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def snapshot(
        self, user_id: str, seconds: float, announced: Stored | None = None
    ) -> ProfileSnapshot:
        """Return the user's profile, or UNAVAILABLE if it does not come in time.

        Args:
            user_id: The user.
            seconds: How long to wait at most. The settings may shorten it.
            announced: The profile that came with an announcement. It is not read again unless it has expired, because
                the store may already have dropped an expired one. Its tail is always read.
        """
        try:
            async with asyncio.timeout(min(seconds, self._wait_seconds)):
                if announced is not None and announced.profile.expires_at_ms > self._now_ms():
                    tail = await self._tail(user_id) if announced.profile.has_tail else None
                    metrics.PROFILES_ANNOUNCED.inc()
                    return ProfileSnapshot(announced, tail)
                with child("GET profiles", SpanKind.CLIENT, _SPAN):
                    return await self.read(user_id)
        except (StoreUnavailable, TimeoutError):
            metrics.PROFILES_UNAVAILABLE.inc()
            return UNAVAILABLE

    async def read(self, user_id: str) -> ProfileSnapshot:
        """Return the profile as of a moment after the call began, and its tail if it has one.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        future = self._asked.get(user_id)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._start)
            future = self._asked[user_id] = loop.create_future()
            future.add_done_callback(_retrieve_exception)
        # Shielded, because other callers may wait for the same future.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Cancel the reads in progress."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)

    async def _tail(self, user_id: str) -> Tail | None:
        (tail,) = await self._store.read_tails([user_id])
        return tail

    def _start(self) -> None:
        asked, self._asked = self._asked, {}
        users = list(asked)
        for at in range(0, len(users), MAX_BATCH):
            task = asyncio.create_task(self._read({u: asked[u] for u in users[at : at + MAX_BATCH]}))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read(self, asked: dict[str, "asyncio.Future[ProfileSnapshot]"]) -> None:
        try:
            stored = await self._store.read(list(asked))
            with_tail = [
                found.profile.user_id for found in stored if found is not None and found.profile.has_tail
            ]
            tails = (
                dict(zip(with_tail, await self._store.read_tails(with_tail), strict=True))
                if with_tail
                else {}
            )
            for (user_id, future), found in zip(asked.items(), stored, strict=True):
                if not future.done():
                    future.set_result(ProfileSnapshot(found, tails.get(user_id)))
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        except Exception as error:
            for future in asked.values():
                if not future.done():
                    future.set_exception(error)


def _retrieve_exception(future: "asyncio.Future[ProfileSnapshot]") -> None:
    """Keep asyncio from logging the failure of a read whose callers have all gone."""
    if not future.cancelled():
        future.exception()
