"""The result of a fold."""

from dataclasses import dataclass

from profiles.folding.events import Event
from profiles.profile import Profile


@dataclass(frozen=True, slots=True)
class Folded:
    """The next profile, and what the caller has to do about it.

    applied: the events that count, in the order of the records; impressions among them.
    dropped, late, repeated, erased_events: records that were applied before; that were older than the time
        to live; whose id was known; that an erasure covers. The last three moved the watermark.
    quiet: nothing that a list could depend on has changed.
    tail_added: (second, item hash) to be added to the tail, after it was deleted if `erased`.
    erased: an erasure was applied: the tail goes, and every model state.
    step: set when the model's history has grown by exactly this event, its newest: a state may be stepped.
    model_history_changed: the model's history is another; without `step` the states are to be refolded.
    """

    profile: Profile
    applied: tuple[Event, ...]
    dropped: int
    late: int
    repeated: int
    erased_events: int
    quiet: bool
    tail_added: tuple[tuple[int, int], ...]
    erased: bool
    step: Event | None
    model_history_changed: bool

    @property
    def count(self) -> int:
        """Records that were not applied before; with none of them there is nothing to write."""
        return len(self.applied) + self.late + self.repeated + self.erased_events
