"""The watchers of one user."""

import asyncio
from collections.abc import Callable

import structlog

from profiles.announcements.announcement import Announcement

log = structlog.get_logger()

Callback = Callable[[Announcement], None]


class Watch:
    """The callbacks of one channel, and the state of its subscription.

    Attributes:
        confirmation: Done once the server has confirmed the subscription. A new one replaces it when that no longer
            holds.
        joined: Whether the client has been asked to subscribe. It tries until it is asked to stop.
        late: Whether a watcher was told that the subscription is not confirmed. It is called back once it is.
    """

    __slots__ = ("callbacks", "channel", "confirmation", "joined", "late", "user_id")

    def __init__(self, user_id: str, channel: str) -> None:
        self.user_id = user_id
        self.channel = channel
        self.callbacks: list[Callback] = []
        self.confirmation: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joined = False
        self.late = False

    @property
    def confirmed(self) -> bool:
        """Whether the server has confirmed the subscription, as far as is known."""
        return self.confirmation.done()

    def reset_confirmation(self) -> None:
        """The subscription has to be confirmed again."""
        if self.confirmation.done():
            self.confirmation = asyncio.get_running_loop().create_future()

    def call(self, announcement: Announcement) -> None:
        """Calls all callbacks. One that fails is logged, and the others are called all the same."""
        for callback in tuple(self.callbacks):
            try:
                callback(announcement)
            except Exception:
                log.exception("announcement_callback_failed", user_id=self.user_id)
