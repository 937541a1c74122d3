"""The announcement of a written profile, and its encoding."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from profiles.errors import ProfileCorrupt
from profiles.folding.events import Event, Position, SlateImpression
from profiles.profile import Stored
from profiles.store.codec import decode
from recstream.storage.v1 import profile_pb2 as storage
from telemetry.unknown_fields import note_in

_APPLIED: Final = 32
# By default Valkey disconnects a subscriber for which 32 MiB are queued, which is 512 profiles of this size. A full
# profile of the usual size has about 20 KiB.
_CARRIED_BYTES: Final = 64 * 2**10
_VALUE_TAG: Final = storage.Announcement.VALUE_FIELD_NUMBER << 3 | 2


@dataclass(frozen=True, slots=True)
class AppliedEvent:
    """An event that a write applied to the profile. Times are Unix milliseconds."""

    position: Position
    event_id: str
    item_id: str
    action: str
    time_ms: int
    record_time_ms: int


class AttachedProfile:
    """A profile that came with its announcement. It is decoded once, on first access."""

    __slots__ = ("_stored", "_user_id", "_value")

    def __init__(self, user_id: str, value: bytes) -> None:
        self._user_id = user_id
        self._value = value
        self._stored: Stored | None = None

    @property
    def stored(self) -> Stored | None:
        """The profile. None: the value cannot be decoded, or belongs to another user."""
        if self._value:
            value, self._value = self._value, b""
            try:
                stored = decode(value)
            except ProfileCorrupt:
                return None  # The reader of the store reports it.
            if stored.profile.user_id == self._user_id:
                self._stored = stored
        return self._stored


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announcement that a profile was written.

    Attributes:
        user_id: The user.
        base_revision: The replaced revision. If it is not the last announced one, announcements were lost.
        revision: The written revision.
        quiet: Whether nothing changed that a slate could depend on.
        applied: The newest events that the write applied, without impressions, at most 32.
        attached: The written profile, if it came with the announcement.
        traceparent: W3C's `traceparent` of the newest traced event. Empty if none is traced.
    """

    user_id: str
    base_revision: int
    revision: int
    quiet: bool
    applied: tuple[AppliedEvent, ...]
    attached: AttachedProfile | None = field(default=None, compare=False, repr=False)
    traceparent: str = ""

    @property
    def stored(self) -> Stored | None:
        """The written profile. None: it did not come with the announcement, and has to be read."""
        stored = self.attached.stored if self.attached else None
        return stored if stored and stored.revision == self.revision else None


def encode_announcement(
    base_revision: int,
    revision: int,
    *,
    quiet: bool,
    applied: Sequence[Event | SlateImpression],
    traceparent: str = "",
) -> bytes:
    """Encodes an announcement, with the newest 32 of `applied` that are no impressions. A stored value may follow
    (`attachment_header`)."""
    named = [event for event in applied if isinstance(event, Event)][-_APPLIED:]
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
        traceparent=traceparent,
    ).SerializeToString()


def attachment_header(value: bytes) -> bytes:
    """The bytes between an announcement and an attached value, which make both one protobuf message. Empty if the value
    is larger than 64 KiB, and is therefore not attached."""
    size = len(value)
    if size > _CARRIED_BYTES:
        return b""
    header = bytearray((_VALUE_TAG,))
    while size > 0x7F:
        header.append(size & 0x7F | 0x80)
        size >>= 7
    header.append(size)
    return bytes(header)


def decode_announcement(user_id: str, payload: bytes) -> Announcement:
    """Decodes an announcement for the user. Raises google.protobuf.message.DecodeError."""
    message = storage.Announcement.FromString(payload)
    note_in("Announcement", message)
    return Announcement(
        user_id=user_id,
        base_revision=message.base_revision,
        revision=message.revision,
        quiet=message.quiet,
        applied=tuple(
            AppliedEvent(
                Position(each.topic_id, each.partition, each.offset),
                each.event_id,
                each.item_id,
                each.action,
                each.time_ms,
                each.record_time_ms,
            )
            for each in message.applied
        ),
        attached=AttachedProfile(user_id, message.value) if message.value else None,
        traceparent=message.traceparent,
    )
