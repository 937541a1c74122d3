"""Finds the open streams that show an item, when it is withdrawn, changes or expires."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.catalog import Catalog, Change
from server.streaming.mailbox import Mailbox

_MAX_TIMER_SECONDS: Final = 3600.0


class ItemWatch:
    """Maps catalogue rows to the mailboxes of streams. Each stream has a timer for the next expiry.

    Args:
        catalog: The catalogue, for the expiry of items.
        now_ms: The wall clock, Unix milliseconds.
    """

    def __init__(self, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._now_ms = now_ms
        self._watchers: dict[int, set[Mailbox]] = {}
        self._rows: dict[Mailbox, frozenset[int]] = {}
        self._timers: dict[Mailbox, asyncio.TimerHandle] = {}

    @property
    def rows(self) -> int:
        """Number of rows that at least one open stream shows."""
        return len(self._watchers)

    def watch(self, mailbox: Mailbox, rows: NDArray[np.int64]) -> None:
        """Watch the rows of a stream's slate instead of those of its previous one.

        Args:
            mailbox: The mailbox of the stream.
            rows: Catalogue rows, [n].
        """
        now = frozenset(rows.tolist())
        before = self._rows.get(mailbox, frozenset())
        for row in before - now:
            self._unwatch(mailbox, row)
        for row in now - before:
            self._watchers.setdefault(row, set()).add(mailbox)
        self._rows[mailbox] = now
        self._set_timer(mailbox, rows)

    def remove(self, mailbox: Mailbox) -> None:
        """Remove a stream that has ended."""
        for row in self._rows.pop(mailbox, frozenset()):
            self._unwatch(mailbox, row)
        if timer := self._timers.pop(mailbox, None):
            timer.cancel()

    def changed(self, change: Change, rows: Iterable[int]) -> None:
        """Notify the streams that show one of the rows. The catalogue calls this for each change."""
        affected: set[Mailbox] = set()
        for row in rows:
            affected |= self._watchers.get(int(row), set())
        for mailbox in affected:
            mailbox.on_item_change(gone=change is not Change.CHANGED)

    def _unwatch(self, mailbox: Mailbox, row: int) -> None:
        watchers = self._watchers.get(row)
        if watchers is not None:
            watchers.discard(mailbox)
            if not watchers:
                del self._watchers[row]

    def _set_timer(self, mailbox: Mailbox, rows: NDArray[np.int64]) -> None:
        if timer := self._timers.pop(mailbox, None):
            timer.cancel()
        expires = self._catalog.next_expiry(rows) if len(rows) else None
        if expires is None:
            return
        # The timer is a millisecond late rather than early. One that fires long before the expiry is set again.
        seconds = min(_MAX_TIMER_SECONDS, max(0, expires - self._now_ms() + 1) / 1000)
        loop = asyncio.get_running_loop()
        self._timers[mailbox] = loop.call_later(seconds, self._on_timer, mailbox, rows, expires)

    def _on_timer(self, mailbox: Mailbox, rows: NDArray[np.int64], expires: int) -> None:
        if self._now_ms() < expires:
            self._set_timer(mailbox, rows)
            return
        self._timers.pop(mailbox, None)
        mailbox.on_item_change(gone=True)
