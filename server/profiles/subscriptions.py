"""Subscriptions to the changes of users, each as a context that ends it, whether cancelled or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from profiles.announcements.subscriber import AnnouncementSubscriber, Callback


class Subscriptions:
    """Subscribes to users, for streams and for calls that wait for their own events.

    Args:
        subscriber: Where announcements come from.
    """

    def __init__(self, subscriber: AnnouncementSubscriber) -> None:
        self._subscriber = subscriber
        self._ending: set[asyncio.Task[bool]] = set()

    @asynccontextmanager
    async def subscribed(self, user_id: str, callback: Callback) -> AsyncIterator[None]:
        """Call back with each change of the user while inside.

        Entering waits for the store to confirm, as long as its settings say. If the confirmation comes later, all
        open streams read their revisions again.

        Args:
            user_id: Whose changes.
            callback: Takes the announcements.
        """
        await self._subscriber.watch(user_id, callback)
        try:
            yield
        finally:
            await self._subscriber.unwatch(user_id, callback)

    @asynccontextmanager
    async def subscribed_soon(
        self, user_id: str, callback: Callback, confirmed: asyncio.Event
    ) -> AsyncIterator[None]:
        """Call back with each change of the user while inside, without waiting for the store to confirm.

        Args:
            user_id: Whose changes.
            callback: Takes the announcements.
            confirmed: Set once no announcement is missed from then on.
        """
        task = asyncio.create_task(self._subscriber.watch(user_id, callback))
        task.add_done_callback(lambda done: confirmed.set() if not done.cancelled() else None)
        try:
            yield
        finally:
            if task.done():
                await self._subscriber.unwatch(user_id, callback)
            else:
                # Cancelled, it leaves no subscription behind. It is not awaited: a cancelled call ends at once.
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Wait for the subscriptions that are being ended, at most a second."""
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=1)
