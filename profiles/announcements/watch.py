"""Those who watch a user."""

import asyncio
from collections.abc import Callable

import structlog

from profiles.announcements.announcements import Announcement

log = structlog.get_logger()

Callback = Callable[[Announcement], None]


class Watch:
    """The callbacks of one channel, and how far its subscription is.

    confirmation: done once the server has confirmed the subscription; another when that no longer holds.
    joined: the client has been asked to subscribe, and tries until it is asked to stop.
    late: somebody was told that it is not confirmed, and has to hear when it is.
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
        """Whether announcements are heard, as far as is known."""
        return self.confirmation.done()

    def forget_confirmation(self) -> None:
        """It has to be confirmed anew."""
        if self.confirmation.done():
            self.confirmation = asyncio.get_running_loop().create_future()

    def call(self, announcement: Announcement) -> None:
        """Hands it to all; one that fails is logged and keeps nobody else from hearing."""
        for callback in tuple(self.callbacks):
            try:
                callback(announcement)
            except Exception:
                log.exception("announcement_callback_failed", user_id=self.user_id)
