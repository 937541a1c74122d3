"""The profile as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from profiles.folding.events import Position


class Entry(NamedTuple):
    """An event of the history. The history is sorted by `order`: event time, then event id."""

    event_id: str
    item_id: str
    action: str
    time_ms: int
    position: Position
    value: float | None = None
    undo_event_id: str = ""

    @property
    def order(self) -> tuple[int, str]:
        return self.time_ms, self.event_id


class Impression(NamedTuple):
    """Items that the user saw together: the first ones, at most `ProfileSettings.impression_items`."""

    event_id: str
    item_ids: tuple[str, ...]
    time_ms: int
    position: Position

    @property
    def order(self) -> tuple[int, str]:
        return self.time_ms, self.event_id


@dataclass(frozen=True, slots=True)
class ModelState:
    """The state of one model version after the history. The widths S and d are those of the bundle.

    Attributes:
        model_version: The version.
        state: The network's state, float32 little-endian [S].
        user_vector: The user vector, float32 little-endian [d].
        stale: Whether the state is behind the history, or was folded with items that had no vector.
    """

    model_version: int
    state: bytes
    user_vector: bytes
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that is stored about a user, except the tail. `profiles.folding.fold` defines what each part means.

    Attributes:
        user_id: The user.
        events: Number of all events without impressions. This is the rank of the newest event.
        history: The newest events, oldest first.
        impressions: The newest impressions, oldest first.
        totals: Number of all events, by action, and of all impressions and undo events.
        watermarks: The last applied offset, by (topic id, partition).
        erased_before: The offset before which events are erased, by (topic id, partition).
        expires_at_ms: When the profile expires, Unix milliseconds.
        has_tail: Whether there is a tail.
        states: Model states by ascending version, at most two.
    """

    user_id: str
    events: int = 0
    history: tuple[Entry, ...] = ()
    impressions: tuple[Impression, ...] = ()
    totals: Mapping[str, int] = field(default_factory=dict)
    watermarks: Mapping[tuple[bytes, int], int] = field(default_factory=dict)
    erased_before: Mapping[tuple[bytes, int], int] = field(default_factory=dict)
    expires_at_ms: int = 0
    has_tail: bool = False
    states: tuple[ModelState, ...] = ()

    def includes(self, position: Position) -> bool:
        """Whether the event at this position has been applied."""
        return self.watermarks.get((position.topic_id, position.partition), -1) >= position.offset

    def state(self, model_version: int) -> ModelState | None:
        """The state of this model version, if there is one."""
        return next((s for s in self.states if s.model_version == model_version), None)


@dataclass(frozen=True, slots=True)
class Stored:
    """A profile with the revision at which it was read."""

    revision: int
    profile: Profile
