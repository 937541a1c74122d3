"""What is published with every write of a profile."""

from collections.abc import Sequence
from dataclasses import dataclass

from profiles.actions import IMPRESSION
from profiles.events import Event, Position
from recstream.storage.v1 import profile_pb2 as storage

_APPLIED = 32


@dataclass(frozen=True, slots=True)
class Applied:
    """An event that a write applied. Times are Unix milliseconds."""

    position: Position
    event_id: str
    item_id: str
    action: str
    time_ms: int
    record_time_ms: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """A profile was written.

    base_revision: what it replaced; where it is not the last one seen, announcements were lost.
    quiet: nothing that a list could depend on has changed.
    applied: the newest of the events that were applied, at most 32, impressions aside.
    """

    user_id: str
    base_revision: int
    revision: int
    quiet: bool
    applied: tuple[Applied, ...]


def encode_announcement(base_revision: int, revision: int, *, quiet: bool, applied: Sequence[Event]) -> bytes:
    """The payload of an announcement; of `applied` what it has room for."""
    named = [event for event in applied if event.action != IMPRESSION][-_APPLIED:]
    return storage.Announcement(
        base_revision=base_revision,
        revision=revision,
        quiet=quiet,
        applied=[
            storage.Applied(
                topic_id=event.position.topic_id,
                partition=event.position.partition,
                offset=event.position.offset,
                event_id=event.event_id,
                item_id=event.item_id,
                action=event.action,
                time_ms=event.time_ms,
                record_time_ms=event.record_time_ms,
            )
            for event in named
        ],
    ).SerializeToString()


def decode_announcement(user_id: str, payload: bytes) -> Announcement:
    """Raises google.protobuf.message.DecodeError."""
    message = storage.Announcement.FromString(payload)
    return Announcement(
        user_id=user_id,
        base_revision=message.base_revision,
        revision=message.revision,
        quiet=message.quiet,
        applied=tuple(
            Applied(
                Position(each.topic_id, each.partition, each.offset),
                each.event_id,
                each.item_id,
                each.action,
                each.time_ms,
                each.record_time_ms,
            )
            for each in message.applied
        ),
    )
