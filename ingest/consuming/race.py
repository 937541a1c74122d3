"""Runs coroutines until the first of them ends."""

import asyncio
from collections.abc import Awaitable

from telemetry.tasks import cancel_and_wait


async def race(*coroutines: Awaitable[None]) -> None:
    """Runs all until one ends, and cancels the others. Raises what that one raises."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(tasks)
    for task in done:
        task.result()
