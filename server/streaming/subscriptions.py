"""Subscriptions to users' changes, each ended with what it was for, cancelled or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from profiles.announcements.changes import Callback, Changes


class Subscriptions:
    """Watches users for streams and for those who wait for their own events."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._ending: set[asyncio.Task[bool]] = set()

    @asynccontextmanager
    async def heard(self, user_id: str, callback: Callback) -> AsyncIterator[None]:
        """While inside, `callback` hears of the user's changes. Entering waits for the confirmation, as long as the
        store's settings say; should it come later, all open streams read their revisions again."""
        await self._changes.watch(user_id, callback)
        try:
            yield
        finally:
            await self._changes.unwatch(user_id, callback)

    @asynccontextmanager
    async def soon_heard(
        self, user_id: str, callback: Callback, confirmed: asyncio.Event
    ) -> AsyncIterator[None]:
        """The same without waiting; `confirmed` is set when from then on nothing is missed."""
        task = asyncio.create_task(self._changes.watch(user_id, callback))
        task.add_done_callback(lambda done: confirmed.set() if not done.cancelled() else None)
        try:
            yield
        finally:
            if task.done():
                await self._changes.unwatch(user_id, callback)
            else:
                # Cancelled, it leaves no watch behind. Not awaited: who is cancelled must be gone at once.
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Waits for what is being ended, at most a second."""
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=1)
