"""The stored form of a profile: eight bytes of revision, then `recstream.storage.v1.Profile`.

Equal profiles have equal bytes, because every list has a defined order and nothing derivable is stored.
"""

from collections.abc import Iterable, Mapping
from itertools import chain, repeat
from math import isnan, nan

from google.protobuf.message import DecodeError

from profiles.errors import ProfileCorrupt
from profiles.folding.events import Position
from profiles.profile import Entry, Impression, ModelState, Profile, Stored
from recstream.storage.v1 import profile_pb2 as storage
from telemetry.unknown_fields import note_in

REVISION_BYTES = 8


def encode_revision(revision: int) -> bytes:
    """The eight bytes that precede a stored profile."""
    return revision.to_bytes(REVISION_BYTES, "big")


def decode_revision(value: bytes) -> int:
    """The revision in a stored value, or in its first eight bytes. 0: there is no profile."""
    return int.from_bytes(value[:REVISION_BYTES], "big")


def encode(profile: Profile) -> bytes:
    """The canonical bytes of a profile, without a revision."""
    events: list[Entry | Impression] = [*profile.history, *profile.impressions]
    topic_ids = sorted(
        {event.position.topic_id for event in events}
        | {topic_id for topic_id, _ in chain(profile.watermarks, profile.erased_before)}
    )
    actions = sorted({entry.action for entry in profile.history})
    topics = {topic_id: i for i, topic_id in enumerate(topic_ids)}
    action_index = {action: i for i, action in enumerate(actions)}
    message = storage.Profile(
        user_id=profile.user_id,
        events=profile.events,
        topic_ids=topic_ids,
        actions=actions,
        totals=[storage.Total(action=a, count=n) for a, n in sorted(profile.totals.items())],
        watermarks=_watermarks(profile.watermarks, topics),
        erased_before=_watermarks(profile.erased_before, topics),
        expires_at_ms=profile.expires_at_ms,
        has_tail=profile.has_tail,
        states=[
            storage.ModelState(
                model_version=s.model_version, state=s.state, user_vector=s.user_vector, stale=s.stale
            )
            for s in sorted(profile.states, key=lambda state: state.model_version)
        ],
    )
    if profile.history:
        _fill(message.history, profile.history, topics, action_index)
    if profile.impressions:
        _fill_impressions(message.impressions, profile.impressions, topics)
    return message.SerializeToString(deterministic=True)


def decode(value: bytes) -> Stored:
    """The profile and its revision. Raises ProfileCorrupt."""
    if len(value) < REVISION_BYTES:
        raise ProfileCorrupt(f"{len(value)} bytes are too few for a stored profile")
    try:
        message = storage.Profile.FromString(value[REVISION_BYTES:])
        note_in("Profile", message)
        topic_ids = list(message.topic_ids)
        actions = list(message.actions)
        profile = Profile(
            user_id=message.user_id,
            events=message.events,
            history=_entries(message.history, topic_ids, actions),
            impressions=_impressions(message.impressions, topic_ids),
            totals={total.action: total.count for total in message.totals},
            watermarks={(topic_ids[w.topic], w.partition): w.offset for w in message.watermarks},
            erased_before={(topic_ids[w.topic], w.partition): w.offset for w in message.erased_before},
            expires_at_ms=message.expires_at_ms,
            has_tail=message.has_tail,
            states=tuple(
                ModelState(s.model_version, s.state, s.user_vector, s.stale) for s in message.states
            ),
        )
    except (DecodeError, IndexError, ValueError) as cause:
        raise ProfileCorrupt(f"a stored profile of {len(value)} bytes cannot be read: {cause}") from cause
    return Stored(decode_revision(value), profile)


def _watermarks(
    offsets: Mapping[tuple[bytes, int], int], topics: Mapping[bytes, int]
) -> Iterable[storage.Watermark]:
    for (topic_id, partition), offset in sorted(offsets.items()):
        yield storage.Watermark(topic=topics[topic_id], partition=partition, offset=offset)


def _fill(
    columns: storage.Entries,
    entries: tuple[Entry, ...],
    topics: Mapping[bytes, int],
    action_index: Mapping[str, int],
) -> None:
    columns.event_ids.extend([_own_id(entry) for entry in entries])
    columns.item_ids.extend([entry.item_id for entry in entries])
    columns.actions.extend([action_index[entry.action] for entry in entries])
    columns.times_ms.extend([entry.time_ms for entry in entries])
    columns.topics.extend([topics[entry.position.topic_id] for entry in entries])
    columns.partitions.extend([entry.position.partition for entry in entries])
    columns.offsets.extend([entry.position.offset for entry in entries])
    values = [entry.value for entry in entries]
    if values.count(None) < len(values):
        columns.values.extend([nan if value is None else value for value in values])
    undo_event_ids = [entry.undo_event_id for entry in entries]
    if any(undo_event_ids):
        columns.undo_event_ids.extend(undo_event_ids)


def _fill_impressions(
    columns: storage.Impressions, impressions: tuple[Impression, ...], topics: Mapping[bytes, int]
) -> None:
    for impression in impressions:
        columns.event_ids.append(_own_id(impression))
        columns.times_ms.append(impression.time_ms)
        columns.topics.append(topics[impression.position.topic_id])
        columns.partitions.append(impression.position.partition)
        columns.offsets.append(impression.position.offset)
        columns.item_counts.append(len(impression.item_ids))
        columns.item_ids.extend(impression.item_ids)


def _own_id(entry: Entry | Impression) -> str:
    """The event's id. Empty if it is the one derived from the position."""
    event_id = entry.event_id
    # The position's id is costly to build, so ids that do not end like it are ruled out first.
    if event_id.endswith(f"-{entry.position.offset}") and event_id == entry.position.event_id:
        return ""
    return event_id


def _impressions(columns: storage.Impressions, topic_ids: list[bytes]) -> tuple[Impression, ...]:
    item_ids = columns.item_ids[:]
    if sum(columns.item_counts) != len(item_ids):
        raise ValueError(f"impressions have {len(item_ids)} items instead of {sum(columns.item_counts)}")
    found = []
    at = 0
    rows = zip(
        columns.event_ids,
        columns.item_counts,
        columns.times_ms,
        columns.topics,
        columns.partitions,
        columns.offsets,
        strict=True,
    )
    for event_id, count, time_ms, topic, partition, offset in rows:
        position = Position(topic_ids[topic], partition, offset)
        shown = tuple(item_ids[at : at + count])
        found.append(Impression(event_id or position.event_id, shown, time_ms, position))
        at += count
    return tuple(found)


def _entries(columns: storage.Entries, topic_ids: list[bytes], actions: list[str]) -> tuple[Entry, ...]:
    event_ids = columns.event_ids[:]
    if not event_ids:
        return ()
    count = len(event_ids)
    topics: Iterable[bytes]
    if len(topic_ids) == 1 and len(columns.topics) == count:  # The usual case.
        topics = repeat(topic_ids[0], count)
    else:
        topics = [topic_ids[i] for i in columns.topics]
    # A slice is the fastest way to copy a column from a message.
    partitions, offsets = columns.partitions[:], columns.offsets[:]
    positions = list(map(Position._make, zip(topics, partitions, offsets, strict=True)))
    if "" in event_ids:
        event_ids = [
            event_id or position.event_id for event_id, position in zip(event_ids, positions, strict=True)
        ]
    values: Iterable[float | None] = repeat(None, count)
    if columns.values:
        values = [None if isnan(value) else value for value in columns.values]
    undo_event_ids: Iterable[str] = columns.undo_event_ids[:] or repeat("", count)
    rows = zip(
        event_ids,
        columns.item_ids[:],
        [actions[i] for i in columns.actions],
        columns.times_ms[:],
        positions,
        values,
        undo_event_ids,
        strict=True,
    )
    return tuple(map(Entry._make, rows))
