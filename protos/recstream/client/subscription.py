"""Receives the lists of a stream in a task of its own."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from recstream.client.errors import fresh
from recstream.client.exchange import Exchange
from recstream.client.lists import Recommendations
from recstream.client.mailbox import Mailbox


class Subscription:
    """A task that receives lists, so that the next list is always the newest that has arrived.

    The task does not refer to the subscription. If it is dropped while the task runs, it ends the task, and with it the
    call, and warns.

    Args:
        name: what it is, for the warning, such as `stream of 'ann'`.
        exchange: makes the calls, and passes their frames to the mailbox.
        mailbox: holds the newest list.
    """

    def __init__(self, name: str, exchange: Exchange[Any, Any], mailbox: Mailbox) -> None:
        self._name = name
        self._exchange = exchange
        self._mailbox = mailbox
        self._task: asyncio.Task[Exception] | None = None

    def start(self) -> asyncio.Task[Exception]:
        """Starts the task if it was not started, or was stopped or cancelled. Returns it."""
        if self._task is None or self._task.cancelled():
            changed = self._mailbox.changed
            self._task = asyncio.create_task(self._exchange.run(), name="recstream-lists")
            self._task.add_done_callback(lambda _: changed.set())
        return self._task

    async def next(self) -> Recommendations | None:
        """Waits for a list that was not returned yet, and returns it. None: the subscription was stopped.

        Raises:
            RecstreamError: the stream has ended for this reason.
        """
        while (unread := self._mailbox.take()) is None:
            if self._task is None or self._task.cancelled():
                return None
            if self._task.done():
                raise fresh(self._task.result())
            self._mailbox.changed.clear()
            await self._mailbox.changed.wait()
        return unread

    def stop(self) -> None:
        """Ends the task. It can be started again, and resumes."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            self._mailbox.changed.set()

    async def aclose(self) -> None:
        """Ends the task, and waits for its end."""
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.wait([task])

    def __del__(self) -> None:
        if self._task is None or self._task.done():
            return
        loop = self._task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._task.cancel)
        warnings.warn(
            f"the {self._name} was dropped while it was open; leave its loop or close it",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )
