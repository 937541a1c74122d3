"""Calls to the model that are never waited for past their budget."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Final, TypeVar

from inference.model import ModelUnavailable

T = TypeVar("T")

_GRACE_SECONDS: Final = 0.002
_LONGEST_SECONDS: Final = 600.0


def call_timeout(seconds: float) -> float:
    """The timeout, in seconds, to give to a call that is waited for so many seconds.

    It is a little less, because whoever makes the call learns more from its own timeout than from being cancelled, and
    finite even where there is no hurry.
    """
    return min(_LONGEST_SECONDS, max(seconds / 2, seconds - _GRACE_SECONDS))


class Calls:
    """Owns the calls in flight. A call that its caller gave up on is cancelled, but not waited for: one that does not
    let go of its socket must not hold a list back."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()

    def start(self, call: Coroutine[object, object, T]) -> "asyncio.Task[T]":
        """Begins the call. Its starter passes it to `result`, or waits with `finished` and then drops it or not."""
        task = asyncio.create_task(call)
        self._open.add(task)
        task.add_done_callback(self._done)
        return task

    async def result(self, task: "asyncio.Task[T]", seconds: float) -> T:
        """What the call returned.

        Raises:
            ModelUnavailable: The call raised it, or did not end within these seconds. Any other exception of the call
                is a fault, and is raised as it is.
        """
        if not task.done():
            try:
                await asyncio.wait({task}, timeout=seconds)
            finally:
                task.cancel()
        if not task.done() or task.cancelled():
            raise ModelUnavailable(f"no answer within {seconds * 1000:.0f} ms")
        return task.result()

    async def finished(self, tasks: "Collection[asyncio.Task[T]]", seconds: float) -> None:
        """Waits for the calls, at most so many seconds. Those that are not done go on."""
        if seconds > 0 and (pending := [task for task in tasks if not task.done()]):
            await asyncio.wait(pending, timeout=seconds)

    async def close(self) -> None:
        """Cancels all open calls and waits for them, at most a second."""
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open), timeout=1)

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._open.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, because nobody may be left to ask for it
