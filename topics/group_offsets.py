"""The offsets that a consumer group has committed, read without joining the group."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final

from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from topics.closing import close_client
from topics.settings import KafkaSettings

_RETRY_SECONDS: Final = 0.2


async def group_offsets(
    kafka: KafkaSettings, group: str, partitions: Iterable[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Returns the group's commits. Partitions without a commit are left out. Raises KafkaError, OSError."""
    admin = AIOKafkaAdminClient(**kafka.client_options())
    wanted = list(partitions)
    deadline = time.monotonic() + kafka.request_timeout_ms / 1000
    try:
        await admin.start()
        while True:
            try:
                found = await admin.list_consumer_group_offsets(group, partitions=wanted)
                break
            except KafkaError as error:
                # The very first request makes Kafka create the topic of committed offsets, and fails meanwhile.
                if not error.retriable or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
    finally:
        await close_client(admin)
    return {tp: commit for tp, commit in found.items() if commit.offset >= 0}
