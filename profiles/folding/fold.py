"""The fold: computes the next profile from a user's profile and records of the log."""

from collections.abc import Sequence
from dataclasses import replace

from profiles.actions import IMPRESSION, ProfileSettings
from profiles.folding.events import Erasure, Event, Events, Position, Record, Skip, SlateImpression, events_of
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
from profiles.profile import Entry, Impression, Profile

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
# How long a profile with only watermarks is kept. This is long enough for readers that wait for them.
_WATERMARKS_ONLY_MS = 3_600_000


def fold(
    profile: Profile | None, user_id: str, records: Sequence[Record], settings: ProfileSettings
) -> Folded:
    """Applies records to a user's profile. It is pure: it reads no clock and does not change the profile.

    How the records are split into batches, and how partitions interleave, makes no difference.

    - A record at or before its partition's watermark was applied before and is dropped. Any other record moves the
      watermark, even if it has no other effect. A record with several events is one record: its watermark covers all.
    - An event that is older than its record's timestamp by more than the time to live is late and has no effect.
    - The history is the newest N + K events by (event time, event id), distinct by id. It includes undo events, but not
      impressions. Undone events stay in it. Which events are effective is computed when the history is read
      (`effective`). An undo only reaches events in the history.
    - A repeated event id counts once. If the repeat differs, the later one is kept, by event time, then by position.
    - Totals count each event once, including undo events, undone events and impressions. An event older than all of a
      full history counts only in the totals, and a repeat of it is not recognised.
    - Impressions have a separate table of the newest ones, by the same rules. Each counts once in the totals and takes
      one place, however many items it has. They change nothing else.
    - The tail gets consumed items whose events leave the history or are too old for it.
    - An erasure removes the events before an offset on each partition, also those that arrive later. Totals start again
      from the events that survive in the history. The tail and the model states are dropped. The offsets stay in the
      profile. Events beyond the offset that were read before the erasure and had already left the history are removed
      too. This is only possible on other partitions than the erasure's, if at least N + K newer events were read.
    - The profile expires when the time to live has passed since its newest event or since an erasure's record. Records
      never make it expire earlier.

    Args:
        profile: The profile so far. None: there is none.
        user_id: The user.
        records: The user's records, in log order within each partition.
        settings: The limits of a profile, and the actions.

    Raises:
        ValueError: A record belongs to another user.
    """
    work = _Work(profile or Profile(user_id), settings)
    for record in records:
        if record.user_id != user_id:
            raise ValueError(
                f"a record of {record.user_id!r} cannot be applied to the profile of {user_id!r}"
            )
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
        self._applied: list[Event | SlateImpression] = []
        self._dropped = self._late = self._repeated = self._erased_events = 0
        self._tail_added: list[tuple[int, int]] = []
        self._erased = False
        self._history_changed = False
        self._make_room()  # The limits may be smaller than before.

    def _tables(self, history: tuple[Entry, ...], impressions: tuple[Impression, ...]) -> None:
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
            self._dropped += len(events_of(record)) or 1
            return
        self._watermarks[partition] = position.offset
        match record:
            case Event() | SlateImpression():
                self._take_one(record)
            case Events():
                for event in record.events:
                    self._take_one(event)
            case Erasure():
                self._erase(record)
            case Skip():
                self._without_effect(record)

    def _take_one(self, event: Event | SlateImpression) -> None:
        if not self._counts(event):
            return
        if isinstance(event, Event):
            self._event(event)
        else:
            self._impression(event)

    def _counts(self, event: Event | SlateImpression) -> bool:
        """Whether the event is neither late nor erased. Its watermark and its expiry count in any case."""
        if event.time_ms < event.record_time_ms - self._time_to_live_ms:
            self._late += 1
            self._without_effect(event)
            return False
        # Done before the check for an erasure, so that the expiry does not depend on which of the two came first.
        self._live_until(event.time_ms + self._time_to_live_ms)
        if self._is_erased(event.position):
            self._erased_events += 1
            return False
        return True

    def _event(self, event: Event) -> None:
        entry = Entry(
            event.event_id,
            event.item_id,
            event.action,
            event.time_ms,
            event.position,
            event.value,
            event.undo_event_id,
        )
        added, replaced = self._history.add(entry)
        if added is Added.REPEATED or added is Added.REPLACED:
            self._repeated += 1
            if replaced is not None:
                self._count(replaced.action, -1)
                self._count(event.action)
                self._history_changed = True
            return
        self._applied.append(event)
        self._count(event.action)
        self._events += 1
        self._history_changed |= added is Added.NEW
        if added is Added.BELOW:
            self._to_tail(entry, self._history.entries)
        self._make_room()

    def _impression(self, event: SlateImpression) -> None:
        shown = event.item_ids[: self._settings.impression_items]
        added, _ = self._impressions.add(Impression(event.event_id, shown, event.time_ms, event.position))
        if added is Added.REPEATED or added is Added.REPLACED:
            self._repeated += 1
            return
        self._applied.append(event)
        self._count(IMPRESSION)
        self._make_room()

    def _make_room(self) -> None:
        self._impressions.overflow()
        if left := self._history.overflow():
            self._history_changed = True
            # One by one, so that each is checked against the undo events that were there when it left.
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
        for entry in history:
            self._count(entry.action)
        if impressions:
            self._count(IMPRESSION, len(impressions))
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

    def _without_effect(self, record: Event | SlateImpression | Skip) -> None:
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
        # An event too old for the history still shifts the ranks, and with them the start of the model's history.
        if not self._history_changed and after.events == self._before.events:
            return None, False
        old = model_history(self._before, self._settings)
        new = model_history(after, self._settings)
        if self._repeated:  # For the model, another position of the same event is not a change.
            old, new = _without_positions(old), _without_positions(new)
        if new == old:
            return None, False
        if new[:-1] != old:
            return None, True
        return self._applied_as(new[-1]), True

    def _applied_as(self, entry: Entry) -> Event | None:
        """The applied event of the entry. None: a repeat in the same batch replaced it."""
        for event in reversed(self._applied):
            if isinstance(event, Event) and event.event_id == entry.event_id:
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
