"""Calls of aiokafka with a timeout that holds."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from aiokafka.errors import KafkaError

T = TypeVar("T")

_END_SECONDS = 5.0


async def with_timeout(call: Coroutine[object, object, T], seconds: float) -> T:
    """Awaits the call in a task of its own, for at most `seconds`.

    A connection of aiokafka that closes cancels whoever waits for it. Without a separate task that would look like a
    cancellation of the caller.

    Returns:
        What the call returns.

    Raises:
        TimeoutError: The call did not return in time. It was cancelled, and had a few more seconds to end.
        KafkaError: A connection was closed, which cancelled the call.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_END_SECONDS)
            if task.cancelled() or not task.done():
                raise TimeoutError(f"no answer within {seconds:g} s")
        if task.cancelled():
            raise KafkaError("broken off: the connection was closed")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_END_SECONDS)
