"""Runs coroutines until the first of them ends."""

import asyncio
from collections.abc import Awaitable, Collection

_AGAIN_SECONDS = 30.0


async def race(*coroutines: Awaitable[None]) -> None:
    """Runs all until one ends, and cancels the others. Raises what that one raises."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(tasks)
    for task in done:
        task.result()


async def cancel_and_wait(tasks: Collection["asyncio.Future[None]"]) -> None:
    """Cancels the tasks and waits until they have ended. It cancels repeatedly, since libraries lose cancellations."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # Marks it as retrieved.
