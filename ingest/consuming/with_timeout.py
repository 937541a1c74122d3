"""Calls of aiokafka in bounded time, and told apart from our own cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from aiokafka.errors import KafkaError

T = TypeVar("T")

_END_SECONDS = 5.0


async def with_timeout(call: Coroutine[object, object, T], seconds: float) -> T:
    """What the call returns.

    Raises TimeoutError after so many seconds, once the call has ended or, cancelled, has not ended for a few more;
    KafkaError where it was broken off from inside: a connection that closes cancels what waits for it, and in our
    own task that would look as if somebody had cancelled us.
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
