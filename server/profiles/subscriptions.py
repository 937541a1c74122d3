"""Subscriptions to users' announcements, as context managers that end them even when cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from profiles.announcements.subscriber import AnnouncementSubscriber, Callback


class Subscriptions:
    """Subscribes to users, for streams and for calls that wait for their own events.

    Args:
        subscriber: Receives the announcements.
    """

    def __init__(self, subscriber: AnnouncementSubscriber) -> None:
        self._subscriber = subscriber
        self._ending: set[asyncio.Task[bool]] = set()

    @asynccontextmanager
    async def subscribed(self, user_id: str, callback: Callback) -> AsyncIterator[None]:
        """Pass each announcement of the user to the callback, while inside.

        Entering waits until the store confirms the subscription or its timeout has passed. If the confirmation comes
        later, the revisions of all open streams are read again.

        Args:
            user_id: The user.
            callback: Called with each announcement.
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
        """Pass each announcement of the user to the callback, while inside. Do not wait for the store's confirmation.

        Args:
            user_id: The user.
            callback: Called with each announcement.
            confirmed: Set once the store has confirmed. No announcement is missed from then on.
        """
        task = asyncio.create_task(self._subscriber.watch(user_id, callback))
        task.add_done_callback(lambda done: confirmed.set() if not done.cancelled() else None)
        try:
            yield
        finally:
            if task.done():
                await self._subscriber.unwatch(user_id, callback)
            else:
                # A cancelled task leaves no subscription. It is not awaited, so that a cancelled call ends at once.
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Wait for subscriptions that are being ended, for at most a second."""
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=1)
