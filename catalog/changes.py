"""Listeners for changes to items."""

import enum
from collections.abc import Callable, Sequence

from telemetry.faults import hold_back


class Change(enum.Enum):
    """What happened to an item."""

    CHANGED = "changed"
    """The item is new, or one of its fields changed."""
    WITHDRAWN = "withdrawn"
    """The item is known but must not be recommended: it is withdrawn, or was put with an expiry in the past."""
    REMOVED = "removed"
    """The item is no longer known."""


Listener = Callable[[Change, Sequence[int]], None]


class Listeners:
    """Listeners, and the changes that they have not been notified of yet."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._pending: dict[Change, dict[int, None]] = {change: {} for change in Change}

    def add(self, listener: Listener) -> Callable[[], None]:
        """Adds a listener. Returns a function that removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def note(self, change: Change, row: int) -> None:
        """Adds a change of a row. It replaces a change of the row that is still pending."""
        for rows in self._pending.values():
            rows.pop(row, None)
        self._pending[change][row] = None

    def notify(self) -> None:
        """Calls every listener with the pending rows, once for each kind of change. A listener that raises is counted
        as a fault, and the others are called all the same."""
        for change, noted in self._pending.items():
            if not noted:
                continue
            rows = tuple(noted)
            noted.clear()
            for listener in tuple(self._listeners):
                try:
                    listener(change, rows)
                except Exception as error:
                    hold_back("catalog-listener", error, change=change.value, rows=len(rows))
