"""A try beside one that is late, as in "The Tail at Scale" (Dean and Barroso, 2013)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from recstream.client.errors import RecstreamError, Unavailable

_T = TypeVar("_T")

#: A loop that wakes so many seconds late was held up, and has not read what arrived meanwhile.
STALL = 0.05
#: The seconds that it then gets to read it.
GRACE = 0.1


async def hedged(
    make_try: Callable[[], Coroutine[Any, Any, _T | RecstreamError]], after: float
) -> _T | RecstreamError:
    """Makes a try, and a second one beside it if the first is still running after so many seconds.

    The slow server of the first try may still answer, and a server that hangs leaves time for another one. (gRPC's core
    has no hedging of its own.) The try that is not needed any more is cancelled. A loop that was held up itself reads
    first what has arrived: a try that nobody needs costs the server a list, and may be written down as shown.

    Returns:
        The first answer. That a server is unavailable is none while the other try runs.
    """
    done: set[asyncio.Task[_T | RecstreamError]] = set()
    running = {asyncio.create_task(make_try())}
    timeout: float | None = after
    loop = asyncio.get_running_loop()
    late = loop.time() + after + STALL
    try:
        while True:
            done, running = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done and timeout == after and loop.time() > late:
                timeout = GRACE
                continue
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
