"""A try beside one that is late, as in "The Tail at Scale" (Dean and Barroso, 2013)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from recstream.client.errors import RecstreamError, Unavailable

_T = TypeVar("_T")


async def hedged(
    make_try: Callable[[], Coroutine[Any, Any, _T | RecstreamError]], after: float
) -> _T | RecstreamError:
    """Makes a try, and a second one beside it if the first is still running after so many seconds.

    The slow server of the first try may still answer, and a server that hangs leaves time for another one. (gRPC's core
    has no hedging of its own.) The try that is not needed any more is cancelled.

    Returns:
        The first answer. That a server is unavailable is none while the other try runs.
    """
    done: set[asyncio.Task[_T | RecstreamError]] = set()
    running = {asyncio.create_task(make_try())}
    timeout: float | None = after
    try:
        while True:
            done, running = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                running.add(asyncio.create_task(make_try()))
            timeout = None
            while done:
                answer = await done.pop()
                if not (done or running) or not isinstance(answer, Unavailable):
                    return answer
    finally:
        for other in running:
            other.cancel()
        await asyncio.gather(*running, *done, return_exceptions=True)
