"""The result of a fold."""

from dataclasses import dataclass

from profiles.folding.events import Event, SlateImpression
from profiles.profile import Profile


@dataclass(frozen=True, slots=True)
class Folded:
    """The next profile, and what the caller has to do about it.

    Attributes:
        profile: The next profile.
        applied: The events that were applied, in the order of the records, including impressions.
        dropped: Number of events and other records that were applied before.
        late: Number of events that were older than the time to live.
        repeated: Number of events whose id was known.
        erased_events: Number of events that an erasure covers. Late, repeated and erased events moved the watermark.
        quiet: Whether nothing changed that a list could depend on.
        tail_added: Pairs (second, item hash) to add to the tail. If `erased`, the old tail has to be deleted before.
        erased: Whether an erasure was applied, which drops the tail and all model states.
        step: The newest event, if the model's history grew by exactly this event. A state may then be stepped.
        model_history_changed: Whether the model's history changed. Without `step`, the states must be refolded.
    """

    profile: Profile
    applied: tuple[Event | SlateImpression, ...]
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
        """Number of events that were not applied before."""
        return len(self.applied) + self.late + self.repeated + self.erased_events
