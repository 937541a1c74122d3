"""An interactions worker that tests start and end."""

import asyncio
from dataclasses import dataclass

from ingest.profiles.sweeper import Sweeper
from profiles.store.store import ProfileStore
from telemetry.health import Health


@dataclass
class Worker:
    """A running interactions worker."""

    health: Health
    stop_event: asyncio.Event
    task: asyncio.Task[None]
    sweeping: asyncio.Task[None]
    store: ProfileStore
    sweeper: Sweeper

    async def stop(self) -> None:
        self.stop_event.set()
        await asyncio.wait_for(self.task, 30)
        await self._close()

    async def kill(self) -> None:
        """Kills the worker in the middle of its work. Its member still leaves the group."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        self.sweeping.cancel()
        await asyncio.gather(self.sweeping, return_exceptions=True)
        await self.store.close()
