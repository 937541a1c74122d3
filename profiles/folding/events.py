"""The records that the fold takes, and their positions in Kafka."""

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """A record's position in the log. `topic_id` is the topic's 16-byte id (KIP-516).

    A named tuple, like `profiles.profile.Entry`: a stored profile holds hundreds of them, and every event and every
    request decodes a profile.
    """

    topic_id: bytes
    partition: int
    offset: int

    @property
    def event_id(self) -> str:
        """The id of an event that was sent without one. An undo can name it."""
        return f"{self.topic_id.hex()}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Event:
    """A validated interaction. Times are Unix milliseconds.

    `event_id` is never empty: if the sender gave none, it is the position's. `record_time_ms` is the record's Kafka
    timestamp: it decides what is late, and never a clock.
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
    """The order to erase what a user did before some offsets, one a partition."""

    user_id: str
    position: Position
    record_time_ms: int
    end_offsets: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A record of the user without effect, except that the watermark passes it."""

    user_id: str
    position: Position
    record_time_ms: int
    reason: str


Record = Event | Erasure | Skip
