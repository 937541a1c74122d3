"""The lag of a consumer group, read from outside of the group."""

import asyncio
import time

from ingest.consuming.offsets import committed, offset_ranges, partitions_of, reader
from ingest.errors import StillBehind
from topics.settings import KafkaSettings

_POLL_SECONDS = 0.3


async def group_lag(kafka: KafkaSettings, group: str, topic: str) -> int:
    """Returns how many records of the topic the group has not committed yet. Raises KafkaError, OSError."""
    async with reader(kafka) as consumer:
        partitions = await partitions_of(kafka, topic)
        ranges = await offset_ranges(consumer, partitions)
    found = await committed(kafka, group, partitions)
    return sum(
        extent.end - (found[tp].offset if tp in found else extent.first) for tp, extent in ranges.items()
    )


async def wait_caught_up(kafka: KafkaSettings, group: str, topic: str, *, seconds: float) -> None:
    """Waits until the group has committed every record.

    Args:
        kafka: The cluster.
        group: The consumer group.
        topic: The topic.
        seconds: The longest wait.

    Raises:
        StillBehind: The group has not caught up in that time.
        KafkaError, OSError: Kafka does not answer.
    """
    give_up = time.monotonic() + seconds
    while behind := await group_lag(kafka, group, topic):
        if time.monotonic() > give_up:
            raise StillBehind(group, topic, behind, seconds)
        await asyncio.sleep(_POLL_SECONDS)
