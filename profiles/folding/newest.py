"""The newest distinct events of a user."""

from bisect import bisect_left, insort
from enum import Enum, auto
from operator import attrgetter

from profiles.profile import Entry

_order = attrgetter("time_ms", "event_id")


class Added(Enum):
    """What became of an event.

    NEW: it was added.
    BELOW: it is older than all that are kept, and there is no room. Whether it came before is unknown.
    REPEATED: its id is known. At most the position that is kept for it has changed.
    REPLACED: its id is known, and it replaced the event that was kept under it.
    """

    NEW = auto()
    BELOW = auto()
    REPEATED = auto()
    REPLACED = auto()


class Newest:
    """A bounded set of events in the order (event time, event id), distinct by event id.

    Of two events with one id the later counts, by event time and then by position. So it holds the newest `capacity`
    events of a set: the same for any order of adding, as long as repeats come while the first one is kept. An event in
    order costs an append, a late one a binary search.

    Args:
        entries: The events so far, in order.
        capacity: Most events.
        gap: Events older than the oldest were dropped before. Then no older one may enter, even if the capacity is
            larger than before and leaves room.
    """

    __slots__ = ("_capacity", "_gap", "_ids", "entries")

    def __init__(self, entries: tuple[Entry, ...], capacity: int, *, gap: bool) -> None:
        self.entries = list(entries)
        self._ids = {entry.event_id for entry in entries}
        self._capacity = capacity
        self._gap = gap

    def add(self, entry: Entry) -> tuple[Added, Entry | None]:
        """Adds an event. Call `overflow` afterwards.

        Returns:
            What became of it; with REPLACED, the event that it replaced.
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

    def overflow(self) -> list[Entry]:
        """Removes the events past the capacity, and returns them, oldest first."""
        excess = len(self.entries) - self._capacity
        if excess <= 0:
            return []
        left, self.entries = self.entries[:excess], self.entries[excess:]
        self._ids.difference_update(entry.event_id for entry in left)
        self._gap = True
        return left

    def _repeat(self, entry: Entry) -> tuple[Added, Entry | None]:
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
