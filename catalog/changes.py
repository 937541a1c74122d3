"""Listeners for changes of items."""

import enum
from collections.abc import Callable, Sequence

import structlog

log = structlog.get_logger()


class Change(enum.Enum):
    """What became of an item."""

    CHANGED = "changed"
    """It is new, or something about it is other than before."""
    WITHDRAWN = "withdrawn"
    """It is known, but not to be recommended now: withdrawn, or put with an expiry that has passed."""
    REMOVED = "removed"
    """It is known no more."""


Listener = Callable[[Change, Sequence[int]], None]


class Listeners:
    """Listeners, and the changes that they have not been notified of."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._pending: dict[Change, dict[int, None]] = {change: {} for change in Change}

    def add(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener; what is returned takes it away again."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def note(self, change: Change, row: int) -> None:
        """The row changed so, which stands for what it was noted for before."""
        for rows in self._pending.values():
            rows.pop(row, None)
        self._pending[change][row] = None

    def notify(self) -> None:
        """Calls every listener with what was noted, once for each kind of change. One that raises is logged."""
        for change, noted in self._pending.items():
            if not noted:
                continue
            rows = tuple(noted)
            noted.clear()
            for listener in tuple(self._listeners):
                try:
                    listener(change, rows)
                except Exception:
                    log.exception("catalog_listener_failed", change=change.value, rows=len(rows))
