"""A task group whose error is the error itself, for the one place that turns errors into statuses."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_task_group(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines side by side until each has ended or one has failed; then the others are cancelled.

    Args:
        coroutines: What to run.

    Raises:
        Exception: The first error, as it is and not inside a group.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in coroutines:
                tasks.create_task(each)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group.exceptions[0].__cause__
