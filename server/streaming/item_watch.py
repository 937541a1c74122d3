"""Which open streams show an item: withdrawn, changed and expiring items find their streams here."""

import asyncio
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from catalog.catalog import Catalog, Change
from server.streaming.mailbox import Inbox

_LONGEST_SECONDS = 3600.0


class ItemWatch:
    """A map from catalogue rows to the inboxes of streams, and a timer a stream for the next expiry on its list."""

    def __init__(self, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._now_ms = now_ms
        self._watchers: dict[int, set[Inbox]] = {}
        self._rows: dict[Inbox, frozenset[int]] = {}
        self._timers: dict[Inbox, asyncio.TimerHandle] = {}

    @property
    def rows(self) -> int:
        """Rows that are on some open list."""
        return len(self._watchers)

    def hold(self, inbox: Inbox, rows: NDArray[np.int64]) -> None:
        """The stream's list is now made of these rows."""
        now = frozenset(rows.tolist())
        before = self._rows.get(inbox, frozenset())
        for row in before - now:
            self._forget(inbox, row)
        for row in now - before:
            self._watchers.setdefault(row, set()).add(inbox)
        self._rows[inbox] = now
        self._arm(inbox, rows)

    def drop(self, inbox: Inbox) -> None:
        """The stream has ended."""
        for row in self._rows.pop(inbox, frozenset()):
            self._forget(inbox, row)
        if timer := self._timers.pop(inbox, None):
            timer.cancel()

    def changed(self, change: Change, rows: Iterable[int]) -> None:
        """The catalogue's listener. `rows` changed so."""
        told: set[Inbox] = set()
        for row in rows:
            told |= self._watchers.get(int(row), set())
        for inbox in told:
            inbox.catalogue(gone=change is not Change.CHANGED)

    def _forget(self, inbox: Inbox, row: int) -> None:
        watchers = self._watchers.get(row)
        if watchers is not None:
            watchers.discard(inbox)
            if not watchers:
                del self._watchers[row]

    def _arm(self, inbox: Inbox, rows: NDArray[np.int64]) -> None:
        if timer := self._timers.pop(inbox, None):
            timer.cancel()
        expires = self._catalog.next_expiry(rows) if len(rows) else None
        if expires is None:
            return
        # A millisecond late rather than early; what lies far ahead is looked at again on the way.
        seconds = min(_LONGEST_SECONDS, max(0, expires - self._now_ms() + 1) / 1000)
        self._timers[inbox] = asyncio.get_running_loop().call_later(seconds, self._due, inbox, rows, expires)

    def _due(self, inbox: Inbox, rows: NDArray[np.int64], expires: int) -> None:
        if self._now_ms() < expires:
            self._arm(inbox, rows)
            return
        self._timers.pop(inbox, None)
        inbox.catalogue(gone=True)
