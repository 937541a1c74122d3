"""The times of the contract, in the milliseconds that everything inside counts in."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

# The years 1 to 9999, which RFC 3339 can write.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
EARLIEST_MS: Final = _FIRST_SECOND * 1000
LATEST_MS: Final = _LAST_SECOND * 1000 + 999
"""The first and the last time that a message can hold, Unix milliseconds."""


def timestamp(time_ms: int) -> Timestamp:
    """The message for a time in Unix milliseconds. The nearest one if no message can hold it."""
    seconds, milliseconds = divmod(min(max(time_ms, EARLIEST_MS), LATEST_MS), 1000)
    return Timestamp(seconds=seconds, nanos=milliseconds * 1_000_000)


def milliseconds(time: Timestamp) -> int:
    """The message's time in Unix milliseconds, rounded down.

    Raises:
        ValueError: The message holds no time.
    """
    if not _FIRST_SECOND <= time.seconds <= _LAST_SECOND or not 0 <= time.nanos < 1_000_000_000:
        raise ValueError(f"{time.seconds} s and {time.nanos} ns are no time in the years 1 to 9999")
    return time.seconds * 1000 + time.nanos // 1_000_000
