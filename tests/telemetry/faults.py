"""Throws faults into background tasks."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from telemetry.background import RESTARTS, BackgroundTask


class Fault(Exception):
    """An error that no code expects."""


class Faults:
    """Throws a fault into a task of a list, while it runs or when it starts."""

    def __init__(self) -> None:
        self.tasks: dict[str, BackgroundTask] = {}
        self._thrown: dict[str, asyncio.Event] = {}

    def throw(self, name: str) -> None:
        """Makes the task of this name fail now, or at its next start."""
        self._thrown.setdefault(name, asyncio.Event()).set()

    def into(self, tasks: Iterable[BackgroundTask]) -> list[BackgroundTask]:
        """Returns the same list, with tasks that faults can be thrown into."""
        listed = list(tasks)
        self.tasks.update({task.name: task for task in listed})
        return [self._breakable(task) for task in listed]

    def _breakable(self, task: BackgroundTask) -> BackgroundTask:
        thrown = self._thrown.setdefault(task.name, asyncio.Event())

        async def run() -> None:
            working, failing = asyncio.ensure_future(task.run()), asyncio.ensure_future(thrown.wait())
            try:
                await asyncio.wait({working, failing}, return_when=asyncio.FIRST_COMPLETED)
                if thrown.is_set():
                    thrown.clear()
                    raise Fault(task.name)
                working.result()
            finally:
                for each in (working, failing):
                    each.cancel()
                await asyncio.gather(working, failing, return_exceptions=True)

        return replace(task, run=run)


def restarts(name: str) -> float:
    """Returns how many times the task was restarted in this process."""
    return RESTARTS.labels(name)._value.get()
