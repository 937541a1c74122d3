"""Who ranks next. Lanes of their own keep one kind of work from standing in the way of another."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Literal

from server import metrics
from telemetry.tracing.spans import child


class Lane(Enum):
    """Why a list is made."""

    CALL = "call"
    """Somebody waits for a unary answer."""
    EVENT = "event"
    """The user of a stream did something."""
    FIRST = "first"
    """A stream was opened."""
    BULK = "bulk"
    """Something that concerns many streams at once: the catalogue, a store that is back, age."""


class Turns:
    """At most so many lists of a lane are made at the same time; those who wait are served in order."""

    def __init__(self, at_once: int) -> None:
        self._lanes = {lane: asyncio.Semaphore(at_once) for lane in Lane}
        # Few, so that their work leaves the event loop to those whose user acts.
        self._lanes[Lane.BULK] = asyncio.Semaphore(max(1, at_once // 4))

    def busy(self, lane: Lane) -> bool:
        """Whether one would have to wait."""
        return self._lanes[lane].locked()

    @asynccontextmanager
    async def within(self, seconds: float, lane: Lane = Lane.CALL) -> AsyncIterator[bool]:
        """A turn, or False if none came in time: then whatever is done must be cheap."""
        started = time.monotonic()
        semaphore = self._lanes[lane]
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
    async def turn(self, lane: Lane, hurry: asyncio.Event) -> AsyncIterator[None]:
        """A turn, however long it takes. Who waits in another lane changes to that of events when `hurry` is set."""
        started = time.monotonic()
        with child("turn"):
            semaphore = await self._unless(hurry, self._lanes[lane]) if lane is not Lane.EVENT else None
            if semaphore is None:
                semaphore = self._lanes[Lane.EVENT]
                await semaphore.acquire()
        metrics.RANKING_WAIT_SECONDS.observe(time.monotonic() - started)
        try:
            yield
        finally:
            semaphore.release()

    async def _unless(self, hurry: asyncio.Event, semaphore: asyncio.Semaphore) -> asyncio.Semaphore | None:
        """The semaphore, acquired; None if `hurry` was set before."""
        if hurry.is_set():
            return None
        if not semaphore.locked():
            await semaphore.acquire()
            return semaphore
        taking = asyncio.create_task(semaphore.acquire())
        hurrying = asyncio.ensure_future(hurry.wait())
        try:
            await asyncio.wait({taking, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            _give_back(taking, semaphore)
            raise
        finally:
            hurrying.cancel()
        if taking.done():
            return semaphore
        _give_back(taking, semaphore)
        return None


def _give_back(taking: "asyncio.Task[Literal[True]]", semaphore: asyncio.Semaphore) -> None:
    """Takes back a wait for a semaphore, which may have been granted meanwhile."""

    def granted(done: "asyncio.Task[Literal[True]]") -> None:
        if not done.cancelled() and done.exception() is None:
            semaphore.release()

    taking.cancel()
    taking.add_done_callback(granted)
