"""How far a consumer group is behind."""

import asyncio
import time

from configuration.errors import CommandError
from ingest.consuming.offsets import committed, offset_ranges, partitions_of, reader
from topics.settings import KafkaSettings


async def lag(kafka: KafkaSettings, group: str, topic: str) -> int:
    """Records of the topic that the group has not committed yet. Raises KafkaError, OSError."""
    async with reader(kafka) as consumer:
        partitions = await partitions_of(kafka, topic)
        there = await offset_ranges(consumer, partitions)
    found = await committed(kafka, group, partitions)
    return sum(
        extent.end - (found[tp].offset if tp in found else extent.first) for tp, extent in there.items()
    )


async def wait_caught_up(kafka: KafkaSettings, group: str, topic: str, *, seconds: float) -> None:
    """Returns when the group has committed everything. Raises CommandError after so many seconds."""
    give_up = time.monotonic() + seconds
    while left := await lag(kafka, group, topic):
        if time.monotonic() > give_up:
            raise CommandError(
                f"{group} is still {left:,} records of {topic} behind after {seconds:g} s",
                "look into ingest's log and its /readyz",
            )
        await asyncio.sleep(0.3)
