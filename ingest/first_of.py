"""Several works of which the first to end decides."""

import asyncio
from collections.abc import Awaitable


async def first_of(*works: Awaitable[None]) -> None:
    """Runs all until one returns or raises, ends the others, and returns or raises as it did."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
