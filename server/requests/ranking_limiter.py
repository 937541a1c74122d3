"""Limits how many slates are made at the same time. Each priority has its own slots, so that none delays another."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Literal

from server import metrics
from telemetry.tracing.spans import child


class Priority(Enum):
    """Why a slate is made."""

    CALL = "call"
    """A client waits for a unary answer."""
    EVENT = "event"
    """The user of a stream did something."""
    FIRST = "first"
    """A stream was opened."""
    BULK = "bulk"
    """Something affects many streams: a change of the catalogue, a store that is back, or age."""


class RankingLimiter:
    """Limits the slates that are made at the same time. Within a priority, callers are served in order.

    Args:
        concurrency: Slots of each priority. BULK has a quarter of them, so that its work leaves the event loop free for
            active users.
    """

    def __init__(self, concurrency: int) -> None:
        self._slots = {priority: asyncio.Semaphore(concurrency) for priority in Priority}
        self._slots[Priority.BULK] = asyncio.Semaphore(max(1, concurrency // 4))

    def busy(self, priority: Priority) -> bool:
        """Return whether a caller would have to wait."""
        return self._slots[priority].locked()

    @asynccontextmanager
    async def try_slot(self, seconds: float, priority: Priority = Priority.CALL) -> AsyncIterator[bool]:
        """Hold a slot, if one is free in time.

        Args:
            seconds: How long to wait at most.
            priority: The priority whose slots are used.

        Yields:
            Whether it holds a slot. Without one, only cheap work may be done.
        """
        started = time.monotonic()
        semaphore = self._slots[priority]
        try:
            async with asyncio.timeout(seconds):
                await semaphore.acquire()
        except TimeoutError:
            metrics.RANKING_WAIT_SECONDS.observe(time.monotonic() - started)
            yield False
            return
        metrics.RANKING_WAIT_SECONDS.observe(time.monotonic() - started)
        try:
            yield True
        finally:
            semaphore.release()

    @asynccontextmanager
    async def slot(self, priority: Priority, hurry: asyncio.Event) -> AsyncIterator[None]:
        """Hold a slot, however long it takes to get one.

        Args:
            priority: The priority whose slots are used.
            hurry: Once it is set, the caller waits for a slot of the priority EVENT instead.
        """
        started = time.monotonic()
        with child("wait for ranking"):
            semaphore = None if priority is Priority.EVENT else await self._acquire_unless(hurry, priority)
            if semaphore is None:
                semaphore = self._slots[Priority.EVENT]
                await semaphore.acquire()
        metrics.RANKING_WAIT_SECONDS.observe(time.monotonic() - started)
        try:
            yield
        finally:
            semaphore.release()

    async def _acquire_unless(self, hurry: asyncio.Event, priority: Priority) -> asyncio.Semaphore | None:
        """Acquire and return the semaphore of the priority. Return None if `hurry` is set before."""
        semaphore = self._slots[priority]
        if hurry.is_set():
            return None
        if not semaphore.locked():
            await semaphore.acquire()
            return semaphore
        acquiring = asyncio.create_task(semaphore.acquire())
        hurrying = asyncio.ensure_future(hurry.wait())
        try:
            await asyncio.wait({acquiring, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            _cancel_acquire(acquiring, semaphore)
            raise
        finally:
            hurrying.cancel()
        if acquiring.done():
            return semaphore
        _cancel_acquire(acquiring, semaphore)
        return None


def _cancel_acquire(acquiring: "asyncio.Task[Literal[True]]", semaphore: asyncio.Semaphore) -> None:
    """Stop waiting for a semaphore. If it is granted before the cancellation arrives, release it."""

    def release_if_granted(done: "asyncio.Task[Literal[True]]") -> None:
        if not done.cancelled() and done.exception() is None:
            semaphore.release()

    acquiring.cancel()
    acquiring.add_done_callback(release_if_granted)
