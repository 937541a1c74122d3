"""The expected result of a fold, computed the slow way: sort all records, cut, and count.

It shares no code with the fold. It gets all records of one user at once, and never a profile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from profiles.actions import ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Record, SlateImpression

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Expected:
    history: list[tuple[int, str, str, str, float | None, str]]
    impressions: list[tuple[int, str, tuple[str, ...]]]
    totals: dict[str, int]
    events: int
    watermarks: dict[tuple[bytes, int], int]
    erased_before: dict[tuple[bytes, int], int]


def expected(records: Sequence[Record], settings: ProfileSettings) -> Expected:
    """The profile after these records. It is right if repeated ids are still known when they repeat, and if no erasure
    comes after the history has lost an event."""
    watermarks: dict[tuple[bytes, int], int] = {}
    floors: dict[tuple[bytes, int], int] = {}
    unseen: dict[Position, Record] = {}
    for record in records:
        unseen[record.position] = record
    for position, record in unseen.items():
        key = position.topic_id, position.partition
        watermarks[key] = max(watermarks.get(key, -1), position.offset)
        if isinstance(record, Erasure):
            for end in record.end_offsets:
                floor_key = end.topic_id, end.partition
                floors[floor_key] = max(floors.get(floor_key, 0), end.offset)

    ttl = settings.time_to_live_days * DAY_MS
    counted = [
        record
        for position, record in unseen.items()
        if isinstance(record, Event | SlateImpression)
        and record.time_ms >= record.record_time_ms - ttl
        and position.offset >= floors.get((position.topic_id, position.partition), 0)
    ]
    events: dict[str, Event] = {}
    impressions: dict[str, SlateImpression] = {}
    for each in sorted(counted, key=lambda e: (e.time_ms, e.position)):
        if isinstance(each, SlateImpression):
            impressions[each.event_id] = each
        else:
            events[each.event_id] = each
    totals: dict[str, int] = {}
    for name in [*(event.action for event in events.values()), *["impression"] * len(impressions)]:
        totals[name] = totals.get(name, 0) + 1
    shown = sorted(
        (i.time_ms, i.event_id, i.item_ids[: settings.impression_items]) for i in impressions.values()
    )
    return Expected(
        history=newest(events, settings.history + settings.refold_every),
        impressions=shown[max(0, len(shown) - settings.impressions) :],
        totals=totals,
        events=len(events),
        watermarks=watermarks,
        erased_before=floors,
    )


def newest(events: dict[str, Event], count: int) -> list[tuple[int, str, str, str, float | None, str]]:
    """The last `count` of all events, sorted."""
    rows = sorted(
        (e.time_ms, e.event_id, e.item_id, e.action, e.value, e.undo_event_id) for e in events.values()
    )
    return rows[max(0, len(rows) - count) :]


def holding(
    history: Sequence[tuple[int, str, str, str, float | None, str]],
) -> list[tuple[int, str, str, str, float | None, str]]:
    """The rows that are not undone, without the undo events."""
    gone: set[str] = set()
    for row in sorted(history, reverse=True):
        if row[3] == "undo" and row[1] not in gone:
            gone.add(row[5])
    return [row for row in history if row[3] != "undo" and row[1] not in gone]


def model_rows(
    events: int, history: Sequence[tuple[int, str, str, str, float | None, str]], settings: ProfileSettings
) -> list[tuple[int, str, str, str, float | None, str]]:
    """The rows with ranks after the last refold, found by counting up to it."""
    start = 0
    while events - start - settings.refold_every >= settings.history:
        start += settings.refold_every
    ranks = range(events - len(history) + 1, events + 1)
    seen = {row for rank, row in zip(ranks, history, strict=True) if rank > start}
    return [row for row in holding(history) if row in seen]
