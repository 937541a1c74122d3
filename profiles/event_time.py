"""When an event happened: as its sender says, within what its arrival allows."""

from dataclasses import dataclass

from profiles.actions import ProfileSettings
from profiles.times import milliseconds
from recstream.v1.interaction_pb2 import Interaction


@dataclass(frozen=True, slots=True)
class EventTime:
    """The time of an event.

    Attributes:
        time_ms: When it happened, Unix milliseconds.
        clock_ahead: Whether the sender's clock was ahead by more than the tolerance. Then the time is the arrival's.
    """

    time_ms: int
    clock_ahead: bool = False


def event_time(interaction: Interaction, arrival_ms: int, settings: ProfileSettings) -> EventTime:
    """The time of a valid interaction. It depends on the record alone and reads no clock, so each fold finds the same.

    Args:
        interaction: The interaction as it was sent.
        arrival_ms: The record's Kafka timestamp, or the present time if there is no record yet. Unix milliseconds.
        settings: The tolerance for clocks.
    """
    if not interaction.HasField("event_time"):
        return EventTime(arrival_ms)
    time_ms = milliseconds(interaction.event_time)
    if time_ms > arrival_ms + settings.max_skew_seconds * 1000:
        return EventTime(arrival_ms, clock_ahead=True)
    return EventTime(time_ms)
