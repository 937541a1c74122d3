"""An event as the fold takes it, and where Kafka keeps it."""

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """A record's place in the log. `topic_id` is the topic's 16-byte id (KIP-516).

    A named tuple, like `profiles.profile.Entry`: a stored profile holds hundreds, and reading one is on
    the way of every event and every request.
    """

    topic_id: bytes
    partition: int
    offset: int

    @property
    def event_id(self) -> str:
        """The id of an event that was sent without one: it may be undone by this name."""
        return f"{self.topic_id.hex()}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Event:
    """One checked interaction. Times are Unix milliseconds.

    `event_id` is never empty: where the sender gave none it is the position's.

    `record_time_ms` is the record's Kafka timestamp: it, and never a wall clock, decides what is late.
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
class Erasure:
    """The order to forget what a user did before some offsets, one a partition."""

    user_id: str
    position: Position
    record_time_ms: int
    end_offsets: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A record of the user that has no effect but to have been read: the watermark passes it."""

    user_id: str
    position: Position
    record_time_ms: int
    reason: str


Record = Event | Erasure | Skip
