"""The records that the fold applies, and their positions in Kafka."""

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """A record's position in the log. `topic_id` is the topic's 16-byte id (KIP-516).

    This and the entries of `profiles.profile` are named tuples because they are fast to create. A stored profile has
    hundreds of them, and every event and every request decodes a profile.
    """

    topic_id: bytes
    partition: int
    offset: int

    @property
    def event_id(self) -> str:
        """The id of an event that was sent without one. An undo can refer to it."""
        return f"{self.topic_id.hex()}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Event:
    """A validated action on an item, or an undo. Times are Unix milliseconds.

    `event_id` is never empty. If the sender gave none, it is the position's. `record_time_ms` is the record's Kafka
    timestamp. It decides whether the event is late; no clock does.
    """

    user_id: str
    position: Position
    record_time_ms: int
    event_id: str
    item_id: str
    action: str
    time_ms: int
    value: float | None = None
    undo_event_id: str = ""


@dataclass(frozen=True, slots=True)
class SlateImpression:
    """A validated impression of items that were seen together. Times and the id are as in `Event`."""

    user_id: str
    position: Position
    record_time_ms: int
    event_id: str
    item_ids: tuple[str, ...]
    time_ms: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """An order to erase the user's events before the end offsets, one for each partition."""

    user_id: str
    position: Position
    record_time_ms: int
    end_offsets: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A record of the user that only moves the watermark."""

    user_id: str
    position: Position
    record_time_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a record that holds several. They have its position, and are applied together or not at all: the
    watermark is that of a record."""

    user_id: str
    position: Position
    record_time_ms: int
    events: tuple[Event | SlateImpression, ...]


Record = Event | SlateImpression | Events | Erasure | Skip


def events_of(record: Record) -> tuple[Event | SlateImpression, ...]:
    """The events of a record: none for an order or a record that only moves the watermark."""
    match record:
        case Events():
            return record.events
        case Event() | SlateImpression():
            return (record,)
        case _:
            return ()
