"""The fold: a user's profile and some records of the log make the next profile."""

from collections.abc import Sequence
from dataclasses import replace

from profiles.actions import IMPRESSION, ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Record, Skip
from profiles.folding.folded import Folded
from profiles.folding.history import (
    consumed,
    consumes,
    effective,
    model_history,
    newest_by_item,
    positives,
    recent,
    refold_start,
    undone,
)
from profiles.folding.newest import Added, Newest
from profiles.folding.tail import hash64
from profiles.profile import Entry, Profile

__all__ = [
    "Folded",
    "consumed",
    "effective",
    "fold",
    "model_history",
    "newest_by_item",
    "positives",
    "recent",
    "refold_start",
    "undone",
]

_DAY_MS = 86_400_000
# How long a profile with nothing but watermarks is kept: long enough for a reader who waits to see them.
_WATERMARKS_ONLY_MS = 3_600_000


def fold(
    profile: Profile | None, user_id: str, records: Sequence[Record], settings: ProfileSettings
) -> Folded:
    """Applies records to a user's profile, or to nothing. Pure: no clock, and no part of the profile changes.

    The records are the user's, in log order within each partition. How the sequence is cut into batches, and how
    partitions interleave, makes no difference.

    - A record at or before its partition's watermark was applied before and is dropped. Any other moves the
      watermark, whether or not it has an effect.
    - An event older than its record's timestamp by more than the time to live is late: no effect.
    - The history is the newest N + K events by (event time, event id), distinct by id. Undo events are part of it,
      impressions are not. Undone events stay: what counts is computed when the history is read (`effective`). An undo
      reaches as far back as the history.
    - A known id counts once. If a repeat differs, the later one is kept, by event time, then by position.
    - Totals count each event once as it happened, undo and impressions too, undone ones included. An event
      older than all of a full history counts there and nowhere else; a repeat of it is not recognised.
    - Impressions have a table of their own, the newest by the same rule, and change nothing else.
    - A consumed item whose event leaves the history, or comes too late for it, goes to the tail.
    - An erasure removes the events of each partition before an offset, now and whenever they come. Counts
      start again from what survives in the history, tail and model states are dropped. The offsets stay in
      the profile. Events past the offset that were read before the erasure, and had left the history by
      then, are removed too: possible on other partitions than the erasure's, with N + K events so read.
    - The profile expires the time to live after its newest event, or after an erasure's record; never earlier than it
      would have before.

    Raises ValueError for a record of another user.
    """
    work = _Work(profile or Profile(user_id), settings)
    for record in records:
        if record.user_id != user_id:
            raise ValueError(f"a record of {record.user_id!r} was given to the profile of {user_id!r}")
        work.take(record)
    return work.folded()


class _Work:
    """The profile while records are applied to it."""

    def __init__(self, before: Profile, settings: ProfileSettings) -> None:
        self._before = before
        self._settings = settings
        self._time_to_live_ms = int(settings.time_to_live_days * _DAY_MS)
        self._totals = dict(before.totals)
        self._events = before.events
        self._watermarks = dict(before.watermarks)
        self._erased_before = dict(before.erased_before)
        self._expires_at_ms = before.expires_at_ms
        self._tables(before.history, before.impressions)
        self._applied: list[Event] = []
        self._dropped = self._late = self._repeated = self._erased_events = 0
        self._tail_added: list[tuple[int, int]] = []
        self._erased = False
        self._history_changed = False
        self._make_room()  # smaller settings than before

    def _tables(self, history: tuple[Entry, ...], impressions: tuple[Entry, ...]) -> None:
        settings = self._settings
        self._history = Newest(
            history, settings.history + settings.refold_every, gap=self._events > len(history)
        )
        self._impressions = Newest(
            impressions, settings.impressions, gap=self._totals.get(IMPRESSION, 0) > len(impressions)
        )

    def take(self, record: Record) -> None:
        position = record.position
        partition = (position.topic_id, position.partition)
        if position.offset <= self._watermarks.get(partition, -1):
            self._dropped += 1
            return
        self._watermarks[partition] = position.offset
        match record:
            case Event():
                self._event(record)
            case Erasure():
                self._erase(record)
            case Skip():
                self._without_effect(record)

    def _event(self, event: Event) -> None:
        if event.time_ms < event.record_time_ms - self._time_to_live_ms:
            self._late += 1
            self._without_effect(event)
            return
        # Before the erasure is looked at: so the time is the same whichever of the two came first.
        self._live_until(event.time_ms + self._time_to_live_ms)
        if self._is_erased(event.position):
            self._erased_events += 1
            return
        entry = Entry(
            event.event_id,
            event.item_id,
            event.action,
            event.time_ms,
            event.position,
            event.value,
            event.undo_event_id,
        )
        is_impression = event.action == IMPRESSION
        added, replaced = (self._impressions if is_impression else self._history).add(entry)
        if added is Added.REPEATED or added is Added.REPLACED:
            self._repeated += 1
            if replaced is not None:
                self._count(replaced.action, -1)
                self._count(event.action)
                self._history_changed |= not is_impression
            return
        self._applied.append(event)
        self._count(event.action)
        if not is_impression:
            self._events += 1
            self._history_changed |= added is Added.NEW
            if added is Added.BELOW:
                self._to_tail(entry, self._history.entries)
        self._make_room()

    def _make_room(self) -> None:
        self._impressions.overflow()
        if left := self._history.overflow():
            self._history_changed = True
            # In turn, so that each meets the undo events that were there when it left.
            for i, entry in enumerate(left):
                self._to_tail(entry, [*left[i:], *self._history.entries])

    def _to_tail(self, entry: Entry, history: Sequence[Entry]) -> None:
        if not self._settings.tail or not consumes(entry.action, self._settings.actions):
            return
        if entry.event_id not in undone(history):
            self._tail_added.append((entry.time_ms // 1000, hash64(entry.item_id)))

    def _erase(self, erasure: Erasure) -> None:
        for topic_id, partition, end in erasure.end_offsets:
            floor = self._erased_before.get((topic_id, partition), 0)
            self._erased_before[topic_id, partition] = max(floor, end)
        self._live_until(erasure.record_time_ms + self._time_to_live_ms)
        history = tuple(e for e in self._history.entries if not self._is_erased(e.position))
        impressions = tuple(e for e in self._impressions.entries if not self._is_erased(e.position))
        self._applied = [event for event in self._applied if not self._is_erased(event.position)]
        self._totals = {}
        for entry in (*history, *impressions):
            self._count(entry.action)
        self._events = len(history)
        self._tables(history, impressions)
        self._tail_added.clear()
        self._erased = self._history_changed = True

    def _count(self, action: str, by: int = 1) -> None:
        self._totals[action] = self._totals.get(action, 0) + by
        if not self._totals[action]:
            del self._totals[action]

    def _is_erased(self, position: Position) -> bool:
        return position.offset < self._erased_before.get((position.topic_id, position.partition), 0)

    def _without_effect(self, record: Event | Skip) -> None:
        kept_ms = min(_WATERMARKS_ONLY_MS, self._time_to_live_ms)
        self._live_until(record.record_time_ms + kept_ms)

    def _live_until(self, time_ms: int) -> None:
        self._expires_at_ms = max(self._expires_at_ms, time_ms)

    def folded(self) -> Folded:
        before = self._before
        after = replace(
            before,
            events=self._events,
            history=tuple(self._history.entries),
            impressions=tuple(self._impressions.entries),
            totals=self._totals,
            watermarks=self._watermarks,
            erased_before=self._erased_before,
            expires_at_ms=self._expires_at_ms,
            has_tail=bool(self._tail_added) or (before.has_tail and not self._erased),
            states=() if self._erased else before.states,
        )
        step, changed = self._model_change(after)
        return Folded(
            profile=after,
            applied=tuple(self._applied),
            dropped=self._dropped,
            late=self._late,
            repeated=self._repeated,
            erased_events=self._erased_events,
            quiet=not (self._history_changed or self._tail_added),
            tail_added=tuple(self._tail_added),
            erased=self._erased,
            step=step,
            model_history_changed=changed,
        )

    def _model_change(self, after: Profile) -> tuple[Event | None, bool]:
        if self._erased:
            return None, True
        # A late event below the horizon moves the ranks, and with them where the model's history begins.
        if not self._history_changed and after.events == self._before.events:
            return None, False
        old = model_history(self._before, self._settings)
        new = model_history(after, self._settings)
        if self._repeated:  # to the model, another position under the same id is no change
            old, new = _without_positions(old), _without_positions(new)
        if new == old:
            return None, False
        if new[:-1] != old:
            return None, True
        return self._applied_as(new[-1]), True

    def _applied_as(self, entry: Entry) -> Event | None:
        """The applied event that the entry is; none where a repeat in the same batch replaced it."""
        for event in reversed(self._applied):
            if event.event_id == entry.event_id:
                same = (event.item_id, event.action, event.time_ms, event.value) == (
                    entry.item_id,
                    entry.action,
                    entry.time_ms,
                    entry.value,
                )
                return event if same else None
        return None


def _without_positions(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    nowhere = Position(b"", 0, 0)
    return tuple(entry._replace(position=nowhere) for entry in entries)
