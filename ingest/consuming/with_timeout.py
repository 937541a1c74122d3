"""Calls of aiokafka with a timeout that holds."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from aiokafka.errors import KafkaError

T = TypeVar("T")

_END_SECONDS = 5.0


async def with_timeout(call: Coroutine[object, object, T], seconds: float) -> T:
    """Awaits the call in a task of its own, for so many seconds.

    Returns:
        What the call returns.

    Raises:
        TimeoutError: It has not returned in time. It has been cancelled, and got a few more seconds to end.
        KafkaError: It was cancelled from within. A connection that closes cancels what waits for it, which in our own
            task would look like our own cancellation.
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
