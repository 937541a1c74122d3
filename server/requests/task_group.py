"""Coroutines side by side, with plain errors."""

import asyncio
from collections.abc import Coroutine


async def together(*works: Coroutine[object, object, object]) -> None:
    """Runs all until each has ended, or one has failed: then the others are cancelled, and its error is raised as it
    is, not in a group. Cancelled itself, it cancels all. In either case it returns when all have ended."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
