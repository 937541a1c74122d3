"""Tasks that end when they are told to, whatever the libraries in them do with a cancellation."""

import asyncio
from collections.abc import Awaitable, Collection
from typing import Final

_AGAIN_SECONDS: Final = 10.0


class BrokenOff(Exception):
    """A task was cancelled from within: aiokafka's connections cancel what waits for them when they close."""


async def cancel_and_wait(tasks: Collection["asyncio.Future[None]"]) -> None:
    """Cancels the tasks and waits until they have ended. It cancels again, since libraries lose cancellations."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # Marks it as retrieved.


async def in_own_task(work: Awaitable[None], name: str = "") -> None:
    """Awaits the work in a task of its own, which ends before this does.

    Raises:
        BrokenOff: It was cancelled from within. In our own task that would look like our own cancellation.
        Exception: What the work raises.
    """
    working = asyncio.ensure_future(work)
    if name and isinstance(working, asyncio.Task):
        working.set_name(name)
    try:
        await asyncio.wait({working})
    finally:
        await cancel_and_wait([working])
    if working.cancelled():
        raise BrokenOff("cancelled from within")
    working.result()
