"""Records for tests, made by hand or drawn by hypothesis."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from profiles.actions import ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Record, Skip, SlateImpression
from profiles.folding.fold import Folded, fold
from profiles.profile import Entry, Impression, Profile

T0 = 1_700_000_000_000
TOPIC = bytes(range(16))
OTHER_TOPIC = bytes(range(1, 17))
DAY_MS = 86_400_000
# Small limits, so that a few events exceed all of them.
SMALL = ProfileSettings(
    history=4, refold_every=3, impressions=3, impression_items=2, tail=5, time_to_live_days=10
)
ROOMY = ProfileSettings(history=64, refold_every=3, impressions=64, time_to_live_days=10)


def event(
    action: str,
    item_id: str,
    seconds: float,
    *,
    offset: int,
    partition: int = 0,
    event_id: str | None = None,
    value: float | None = None,
    undo: str = "",
    record_seconds: float | None = None,
    topic: bytes = TOPIC,
) -> Event:
    """An event of `ann`, `seconds` after T0."""
    position = Position(topic, partition, offset)
    return Event(
        user_id="ann",
        position=position,
        record_time_ms=T0 + int((seconds if record_seconds is None else record_seconds) * 1000),
        event_id=position.event_id if event_id is None else event_id,
        item_id=item_id,
        action=action,
        time_ms=T0 + int(seconds * 1000),
        value=value,
        undo_event_id=undo,
    )


def impression(
    item_ids: Sequence[str],
    seconds: float,
    *,
    offset: int,
    event_id: str | None = None,
    record_seconds: float | None = None,
) -> SlateImpression:
    """An impression of `ann`, `seconds` after T0."""
    position = Position(TOPIC, 0, offset)
    return SlateImpression(
        user_id="ann",
        position=position,
        record_time_ms=T0 + int((seconds if record_seconds is None else record_seconds) * 1000),
        event_id=position.event_id if event_id is None else event_id,
        item_ids=tuple(item_ids),
        time_ms=T0 + int(seconds * 1000),
    )


def erasure(*ends: tuple[int, int], offset: int, partition: int = 0, seconds: float = 0) -> Erasure:
    """An order to erase the events before the end offset of each (partition, end offset)."""
    return Erasure(
        "ann",
        Position(TOPIC, partition, offset),
        T0 + int(seconds * 1000),
        tuple(Position(TOPIC, p, end) for p, end in ends),
    )


def run(
    records: Sequence[Record], settings: ProfileSettings = SMALL, profile: Profile | None = None
) -> Folded:
    """Folds the records in one batch."""
    return fold(profile, "ann", records, settings)


def in_batches(
    records: Sequence[Record], sizes: Sequence[int], settings: ProfileSettings
) -> tuple[Profile | None, list[Folded]]:
    """Folds the records in batches of these sizes, and the rest in one more."""
    profile, parts = None, []
    rest = list(records)
    for size in [*sizes, len(records)]:
        batch, rest = rest[:size], rest[size:]
        if batch:
            parts.append(fold(profile, "ann", batch, settings))
            profile = parts[-1].profile
    return profile, parts


def rows(entries: Sequence[Entry]) -> list[tuple[int, str, str, str, float | None, str]]:
    """Entries without their positions, in the form of the oracle."""
    return [(e.time_ms, e.event_id, e.item_id, e.action, e.value, e.undo_event_id) for e in entries]


def shown(impressions: Sequence[Impression]) -> list[tuple[int, str, tuple[str, ...]]]:
    """Impressions without their positions, in the form of the oracle."""
    return [(i.time_ms, i.event_id, i.item_ids) for i in impressions]


@st.composite
def contents(draw: st.DrawFn, *, repeats: bool) -> list[Event | SlateImpression]:
    """Events and impressions without positions. Some have the same time, some are too old, some undo others."""
    count = draw(st.integers(0, 24))
    ids = [f"e{i}" for i in range(count)]
    events: list[Event | SlateImpression] = []
    for i in range(count):
        event_id = draw(st.sampled_from(ids)) if repeats and draw(st.booleans()) else ids[i]
        action = draw(st.sampled_from(["view", "like", "dislike", "undo", "impression"]))
        seconds = draw(st.integers(0, 9)) - (20 * 86_400 if draw(st.integers(0, 9)) == 0 else 0)
        record_seconds = draw(st.integers(9, 12))
        if action == "impression":
            item_ids = draw(st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=5, unique=True))
            events.append(
                impression(item_ids, seconds, offset=0, event_id=event_id, record_seconds=record_seconds)
            )
            continue
        made = event(
            action,
            draw(st.sampled_from("ABCDE")),
            seconds,
            offset=0,
            event_id=event_id,
            value=draw(st.none() | st.sampled_from([1.0, 4.5])),
            undo=draw(st.sampled_from(ids)) if action == "undo" else "",
            record_seconds=record_seconds,
        )
        events.append(made)
    return events


def placed(events: Sequence[Event | SlateImpression], partitions: Sequence[int]) -> list[Record]:
    """The events with positions, in this order on these partitions."""
    ends = dict.fromkeys(partitions, 0)
    records: list[Record] = []
    for each, partition in zip(events, partitions, strict=True):
        records.append(replace(each, position=Position(TOPIC, partition, ends[partition])))
        ends[partition] += 1 + each.time_ms % 2  # Gaps are other users' records.
    return records


@st.composite
def logs(draw: st.DrawFn, *, repeats: bool = False, erasures: bool = False) -> list[Record]:
    """Records of a user on three partitions, in one of the orders in which they may be read."""
    events = draw(contents(repeats=repeats))
    partitions = draw(st.lists(st.integers(0, 2), min_size=len(events), max_size=len(events)))
    records = placed(events, partitions)
    for i, record in enumerate(records):
        if draw(st.integers(0, 11)) == 0:
            records[i] = Skip("ann", record.position, record.record_time_ms, "refused")
        elif erasures and draw(st.integers(0, 7)) == 0:
            ends = {p: draw(st.integers(0, 8)) for p in range(3)}
            # On its own partition, an erasure cannot cover later records.
            ends[record.position.partition] = record.position.offset
            records[i] = Erasure(
                "ann",
                record.position,
                record.record_time_ms,
                tuple(Position(TOPIC, p, end) for p, end in ends.items()),
            )
    return records


def interleaved(records: Sequence[Record], order: Sequence[int]) -> list[Record]:
    """The same partitions, read in another order. `order` says which partition is read next."""
    queues = {p: [r for r in records if r.position.partition == p] for p in range(3)}
    result = [queues[p].pop(0) for p in order if queues[p]]
    return result + [record for queue in queues.values() for record in queue]
