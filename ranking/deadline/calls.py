"""Calls to the model, none of which is waited for beyond its budget."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Final, TypeVar

from inference.model import ModelUnavailable

T = TypeVar("T")

_GRACE_SECONDS: Final = 0.002
_LONGEST_SECONDS: Final = 600.0


def call_timeout(seconds: float) -> float:
    """The timeout for a call that is waited for `seconds`, in seconds.

    It is a little shorter, because the call's own timeout says more than a cancellation. It is finite even if `seconds`
    is not.
    """
    return min(_LONGEST_SECONDS, max(seconds / 2, seconds - _GRACE_SECONDS))


class Calls:
    """Owns the calls in flight. A call that exceeds its time is cancelled but not waited for, so that a call that hangs
    on its socket does not delay a list."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()

    def start(self, call: Coroutine[object, object, T]) -> "asyncio.Task[T]":
        """Starts a call. Pass its task to `result`, or wait with `finished`."""
        task = asyncio.create_task(call)
        self._open.add(task)
        task.add_done_callback(self._done)
        return task

    async def result(self, task: "asyncio.Task[T]", seconds: float) -> T:
        """Waits for the call and returns its result. Cancels the call if it takes longer than `seconds`.

        Raises:
            ModelUnavailable: The call raised it, or did not end in time.
            Exception: Any other exception of the call. It is a fault.
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
        """Waits for the calls, for at most `seconds`. Calls that are not done continue."""
        if seconds > 0 and (pending := [task for task in tasks if not task.done()]):
            await asyncio.wait(pending, timeout=seconds)

    async def close(self) -> None:
        """Cancels all open calls and waits for them for at most a second."""
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open), timeout=1)

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._open.discard(task)
        if not task.cancelled():
            task.exception()  # Retrieved here, because the task's owner may be gone. asyncio would log it otherwise.
