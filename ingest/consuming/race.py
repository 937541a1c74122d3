"""Several works of which the first to end decides."""

import asyncio
from collections.abc import Awaitable, Collection

_AGAIN_SECONDS = 30.0


async def race(*works: Awaitable[None]) -> None:
    """Runs all until one returns or raises, ends the others, and returns or raises as it did."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(tasks)
    for task in done:
        task.result()


async def cancel_and_wait(tasks: Collection["asyncio.Future[None]"]) -> None:
    """Cancels the tasks until they have ended: in the depths of a library a cancellation may be lost."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen
