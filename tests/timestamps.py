"""Times of messages."""

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(time_ms: int) -> Timestamp:
    """Returns Unix milliseconds as a message."""
    made = Timestamp()
    made.FromMilliseconds(time_ms)
    return made
