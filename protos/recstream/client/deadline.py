"""Bounds a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")


async def within(seconds: float | None, work: Awaitable[_T]) -> _T | None:
    """Awaits `work` for at most so many seconds; None: without end. Returns its result; None: the time is up.

    A TimeoutError that `work` itself raises is raised.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        return None
    finally:
        del limit  # it refers to the task, so an error that ends the task would be part of a cycle
