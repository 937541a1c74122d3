"""When the source of an item changed it, in Unix nanoseconds."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

SECOND_NS: Final = 1_000_000_000
MAX_AHEAD_NS: Final = 300 * SECOND_NS
"""A source's clock may be ahead of the arrival by this much."""


def nanoseconds(time: Timestamp) -> int:
    """The message's time in Unix nanoseconds."""
    return time.seconds * SECOND_NS + time.nanos


def nanosecond_timestamp(time_ns: int) -> Timestamp:
    """The message for a time in Unix nanoseconds."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    return Timestamp(seconds=seconds, nanos=nanos)


def is_ahead(time_ns: int, arrival_ns: int) -> bool:
    """Whether a source's clock is too far ahead to be believed. Its change would win over all others until then, so it
    gets the time of its arrival."""
    return time_ns > arrival_ns + MAX_AHEAD_NS
