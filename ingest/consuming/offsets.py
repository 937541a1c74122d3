"""Committed offsets, and what is committed beside them."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaError

from ingest.errors import GroupActive, OffsetOutOfRange
from topics.closing import close_client
from topics.partitions import partition_counts
from topics.settings import KafkaSettings

_RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition.

    store: names the store that holds what was applied; empty where it was not said.
    safe: the offset to read from if the store is another one by now; None where it was not said.
    metadata: all that was committed beside the offset, as it is.
    """

    offset: int
    store: str = ""
    safe: int | None = None
    metadata: str = ""


def store_mark(identity: str) -> str:
    """A short name for a store's identity, however long that is."""
    return hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()


def to_metadata(store: str, safe: int) -> str:
    """What is written beside the offset."""
    return f"{store}:{safe}"


def from_metadata(offset: int, metadata: str) -> Committed:
    """The reverse; metadata that others wrote is passed over."""
    store, _, safe = metadata.partition(":")
    if store and safe.isascii() and safe.isdigit():
        return Committed(offset, store, min(int(safe), offset), metadata)
    return Committed(offset, metadata=metadata)


async def committed(
    kafka: KafkaSettings, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, Committed]:
    """What the group has committed; partitions without a commit are left out. Raises KafkaError, OSError."""
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
                # The first question ever makes Kafka create the topic of the offsets.
                if not error.retriable or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
    finally:
        await close_client(admin)
    return {tp: from_metadata(o.offset, o.metadata) for tp, o in found.items() if o.offset >= 0}


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The first offset of a partition and the one after its last."""

    first: int
    end: int


async def offset_ranges(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetRange]:
    """Where the partitions begin and end. Raises KafkaError."""
    wanted = list(partitions)
    first = await consumer.beginning_offsets(wanted)
    end = await consumer.end_offsets(wanted)
    return {tp: OffsetRange(first[tp], end[tp]) for tp in wanted}


def out_of_range(
    found: Mapping[TopicPartition, Committed], there: Mapping[TopicPartition, OffsetRange]
) -> list[tuple[int, int, int, int]]:
    """(partition, committed, first, end) of those whose committed offset is not there any more."""
    return [
        (tp.partition, c.offset, there[tp].first, there[tp].end)
        for tp, c in sorted(found.items())
        if not there[tp].first <= c.offset <= there[tp].end
    ]


async def check_range(kafka: KafkaSettings, group: str, topic: str) -> dict[int, Committed]:
    """What the group has committed, by partition, looked up without joining it.

    Raises OffsetOutOfRange, KafkaError, OSError.
    """
    async with reader(kafka) as consumer:
        partitions = await partitions_of(kafka, topic)
        found = await committed(kafka, group, partitions)
        if ranges := out_of_range(found, await offset_ranges(consumer, partitions)):
            raise OffsetOutOfRange(topic, ranges)
    return {tp.partition: c for tp, c in found.items()}


async def move(
    kafka: KafkaSettings, group: str, topic: str, *, partitions: Iterable[int] | None = None
) -> list[int]:
    """Commits the first offset there, for these partitions or all; returns the partitions.

    Raises GroupActive while the group has members, KafkaError, OSError.
    """
    async with reader(kafka, group_id=group, enable_auto_commit=False) as consumer:
        every = await partitions_of(kafka, topic)
        chosen = [tp for tp in every if partitions is None or tp.partition in set(partitions)]
        if not chosen:
            return []
        first = await consumer.beginning_offsets(chosen)
        consumer.assign(chosen)
        try:
            await consumer.commit(first)
        except CommitFailedError as error:
            raise GroupActive(group, error) from error
    return sorted(tp.partition for tp in chosen)


@contextlib.asynccontextmanager
async def reader(kafka: KafkaSettings, **options: object) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any subscription, closed afterwards."""
    consumer = AIOKafkaConsumer(**kafka.client_options(), **options)
    try:
        await consumer.start()
        yield consumer
    finally:
        await close_client(consumer)


async def partitions_of(kafka: KafkaSettings, topic: str) -> list[TopicPartition]:
    """The topic's partitions, asked of Kafka. Raises TopicMissing, KafkaUnreachable."""
    count = (await partition_counts(kafka, [topic]))[topic]
    return [TopicPartition(topic, partition) for partition in range(count)]
