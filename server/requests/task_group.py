"""A task group that raises the error itself instead of an exception group."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_task_group(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines concurrently until all have ended or one has failed. If one fails, cancel the others.

    Args:
        coroutines: The coroutines to run.

    Raises:
        Exception: The first error itself, so that it can be converted to a status.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in coroutines:
                tasks.create_task(each)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group.exceptions[0].__cause__
