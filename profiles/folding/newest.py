"""The newest distinct events of a user."""

from bisect import bisect_left, insort
from enum import Enum, auto
from operator import attrgetter
from typing import Generic, TypeVar

from profiles.profile import Entry, Impression

E = TypeVar("E", Entry, Impression)
_order = attrgetter("time_ms", "event_id")


class Added(Enum):
    """The result of adding an event.

    NEW: It was added.
    BELOW: It was not added. It is older than all kept events, and there is no room. Whether it is a repeat is unknown.
    REPEATED: Its id is known. At most the kept position has changed.
    REPLACED: Its id is known, and it replaced the kept event.
    """

    NEW = auto()
    BELOW = auto()
    REPEATED = auto()
    REPLACED = auto()


class Newest(Generic[E]):
    """A bounded set of events in the order (event time, event id), distinct by event id.

    Of two events with the same id, the later one is kept, by event time, then by position. The result is the newest
    `capacity` events of the set of added ones. It does not depend on the order of adding, as long as repeats come while
    the first one is kept. Adding an event in order costs an append, a late one a binary search.

    Args:
        entries: The events so far, in order.
        capacity: Most events.
        gap: Whether events older than the oldest one were dropped before. Then no older event may enter, even if there
            is room because the capacity has grown.
    """

    __slots__ = ("_capacity", "_gap", "_ids", "entries")

    def __init__(self, entries: tuple[E, ...], capacity: int, *, gap: bool) -> None:
        self.entries: list[E] = list(entries)
        self._ids = {entry.event_id for entry in entries}
        self._capacity = capacity
        self._gap = gap

    def add(self, entry: E) -> tuple[Added, E | None]:
        """Adds an event. Call `overflow` afterwards.

        Returns:
            The result, and with REPLACED the replaced event.
        """
        entries = self.entries
        if entry.event_id in self._ids:
            return self._repeat(entry)
        closed = self._gap or len(entries) >= self._capacity
        if closed and (not entries or entry.order < entries[0].order):
            self._gap = True
            return Added.BELOW, None
        if not entries or entry.order > entries[-1].order:
            entries.append(entry)
        else:
            insort(entries, entry, key=_order)
        self._ids.add(entry.event_id)
        return Added.NEW, None

    def overflow(self) -> list[E]:
        """Removes the oldest events that exceed the capacity. Returns them, oldest first."""
        excess = len(self.entries) - self._capacity
        if excess <= 0:
            return []
        left, self.entries = self.entries[:excess], self.entries[excess:]
        self._ids.difference_update(entry.event_id for entry in left)
        self._gap = True
        return left

    def _repeat(self, entry: E) -> tuple[Added, E | None]:
        entries = self.entries
        at = next(i for i, kept in enumerate(entries) if kept.event_id == entry.event_id)
        kept = entries[at]
        if (entry.time_ms, entry.position) <= (kept.time_ms, kept.position):
            return Added.REPEATED, None
        if entry.time_ms == kept.time_ms:
            entries[at] = entry
        else:
            del entries[at]
            entries.insert(bisect_left(entries, entry.order, key=_order), entry)
        if kept._replace(position=entry.position) == entry:
            return Added.REPEATED, None
        return Added.REPLACED, kept
