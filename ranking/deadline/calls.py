"""Calls to the model that are never waited for past their budget."""

import asyncio
from collections.abc import Coroutine
from typing import Final, TypeVar

from inference.model import ModelUnavailable

T = TypeVar("T")

_GRACE_SECONDS: Final = 0.002


def own_timeout(seconds: float) -> float:
    """The timeout to give to a call that is waited for so long: a little less, for whoever makes it learns
    more from its own timeout than from being cancelled."""
    return max(seconds / 2, seconds - _GRACE_SECONDS)


class Calls:
    """Owns the calls in flight. One that its caller gave up on is cancelled, but not waited for: a call
    that does not let go of its socket must not hold an answer back."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()

    def start(self, call: Coroutine[object, object, T]) -> "asyncio.Task[T]":
        """Begins the call. Its starter hands it to `result`, or looks at it with `peek` and then drops it
        or not."""
        task = asyncio.create_task(call)
        self._open.add(task)
        task.add_done_callback(self._done)
        return task

    async def result(self, task: "asyncio.Task[T]", seconds: float) -> T:
        """What the call gave. Raises ModelUnavailable if it failed with that or did not end in time; any
        other exception of the call is a fault and raised as it is."""
        if not task.done():
            try:
                await asyncio.wait({task}, timeout=seconds)
            finally:
                task.cancel()
        if not task.done() or task.cancelled():
            raise ModelUnavailable(f"no answer within {seconds * 1000:.0f} ms")
        return task.result()

    async def peek(self, task: "asyncio.Task[T]", seconds: float) -> bool:
        """Waits for the call at most so long, and tells whether it is done. It is not cancelled."""
        if not task.done() and seconds > 0:
            await asyncio.wait({task}, timeout=seconds)
        return task.done()

    async def close(self) -> None:
        """Cancels whatever is open and waits for it, at most a second."""
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open), timeout=1)

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._open.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody may be left to ask for it
