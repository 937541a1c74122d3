"""The newest distinct events of a user, kept one by one."""

from bisect import bisect_left, insort
from enum import Enum, auto
from operator import attrgetter

from profiles.profile import Entry

_order = attrgetter("time_ms", "event_id")


class Added(Enum):
    """What became of an event.

    NEW: it took its place.
    BELOW: it is older than all that are kept, and there is no room; whether it came before cannot be told.
    REPEATED: its id is known, and nothing but the position that is remembered for it may have changed.
    RENEWED: its id is known, and the repeat replaced what was kept under it.
    """

    NEW = auto()
    BELOW = auto()
    REPEATED = auto()
    RENEWED = auto()


class Newest:
    """A bounded set of events in the order (event time, event id), distinct by event id.

    Of two events with one id the later counts, by event time and then by position. So the contents are the
    newest `capacity` of a set: the same for any order of adding, as long as repeats come while the first
    is kept. An event in order costs an append, a late one a binary search; nothing is sorted again.

    gap: events older than the oldest were dropped before, so that none older than it may enter, even where
    a larger capacity than before leaves room.
    """

    __slots__ = ("_capacity", "_gap", "_ids", "entries")

    def __init__(self, entries: tuple[Entry, ...], capacity: int, *, gap: bool) -> None:
        self.entries = list(entries)
        self._ids = {entry.event_id for entry in entries}
        self._capacity = capacity
        self._gap = gap

    def add(self, entry: Entry) -> tuple[Added, Entry | None]:
        """Takes the event in, and returns with RENEWED what was there before.

        Afterwards `overflow` says what has to leave for it.
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
        """Removes what is past the capacity and returns it, oldest first."""
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
        return Added.RENEWED, kept
