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
        confirmation: Done once the server has confirmed the subscription. It is replaced when the subscription has to
            be confirmed again.
        joined: Whether the client has been asked to subscribe. It retries until it is asked to unsubscribe.
        late: Whether `watch` returned before the confirmation. The callbacks are called once it comes.
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
        """Whether the subscription is confirmed, as far as is known."""
        return self.confirmation.done()

    def reset_confirmation(self) -> None:
        """Marks the subscription as not confirmed."""
        if self.confirmation.done():
            self.confirmation = asyncio.get_running_loop().create_future()

    def call(self, announcement: Announcement) -> None:
        """Calls all callbacks. One that fails is logged, and the others are still called."""
        for callback in tuple(self.callbacks):
            try:
                callback(announcement)
            except Exception:
                log.exception("announcement_callback_failed", user_id=self.user_id)
