"""Committed offsets with their metadata, and the offset ranges of partitions."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from ingest.errors import GroupActive, OffsetOutOfRange
from topics.closing import close_client
from topics.group_offsets import group_offsets
from topics.partitions import partition_counts
from topics.settings import KafkaSettings

_RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition.

    Attributes:
        offset: The next record to read.
        store: The mark of the store that holds what was applied; empty if the metadata does not name one.
        rewind_to: The offset to read from if the store has changed since; None if the metadata does not say.
        metadata: The commit's metadata, unparsed.
    """

    offset: int
    store: str = ""
    rewind_to: int | None = None
    metadata: str = ""


def store_mark(identity: str) -> str:
    """Returns a short name for a store's identity: a hash of 16 hex digits."""
    return hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()


def to_metadata(store: str, rewind_to: int) -> str:
    """Returns a commit's metadata: the store's mark, and the offset to rewind to if the store changes."""
    return f"{store}:{rewind_to}"


def from_metadata(offset: int, metadata: str) -> Committed:
    """Parses a commit's metadata. Metadata in another form is kept as it is."""
    store, _, rewind_to = metadata.partition(":")
    if store and rewind_to.isascii() and rewind_to.isdigit():
        return Committed(offset, store, min(int(rewind_to), offset), metadata)
    return Committed(offset, metadata=metadata)


async def committed(
    kafka: KafkaSettings, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, Committed]:
    """Returns the group's commits, without joining the group. Partitions without a commit are left out. Raises
    KafkaError, OSError."""
    found = await group_offsets(kafka, group, partitions)
    return {tp: from_metadata(commit.offset, commit.metadata) for tp, commit in found.items()}


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The first offset of a partition, and the one after its last record."""

    first: int
    end: int


async def offset_ranges(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetRange]:
    """Returns the offset range of each partition. Raises KafkaError."""
    wanted = list(partitions)
    first = await consumer.beginning_offsets(wanted)
    end = await consumer.end_offsets(wanted)
    return {tp: OffsetRange(first[tp], end[tp]) for tp in wanted}


def out_of_range(
    found: Mapping[TopicPartition, Committed], there: Mapping[TopicPartition, OffsetRange]
) -> list[tuple[int, int, int, int]]:
    """Returns the partitions whose committed offset Kafka no longer has, as (partition, committed, first, end)."""
    return [
        (tp.partition, c.offset, there[tp].first, there[tp].end)
        for tp, c in sorted(found.items())
        if not there[tp].first <= c.offset <= there[tp].end
    ]


async def check_range(kafka: KafkaSettings, group: str, topic: str) -> dict[int, Committed]:
    """Checks that Kafka has the group's committed offsets, without joining the group.

    Returns:
        The commits by partition.

    Raises:
        OffsetOutOfRange: Records were deleted before they were read.
        KafkaError, OSError: Kafka fails.
    """
    async with reader(kafka) as consumer:
        partitions = await partitions_of(kafka, topic)
        found = await committed(kafka, group, partitions)
        if ranges := out_of_range(found, await offset_ranges(consumer, partitions)):
            raise OffsetOutOfRange(topic, ranges)
    return {tp.partition: c for tp, c in found.items()}


async def rewind_group(
    kafka: KafkaSettings, group: str, topic: str, *, partitions: Iterable[int] | None = None
) -> list[int]:
    """Commits the first offset of these partitions, or of all.

    Returns:
        The partitions, sorted.

    Raises:
        GroupActive: The group has members.
        KafkaError, OSError: Kafka fails.
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
    """Opens a consumer outside of any group, and closes it afterwards. Raises KafkaError, OSError."""
    consumer = AIOKafkaConsumer(**kafka.client_options(), **options)
    try:
        await consumer.start()
        yield consumer
    finally:
        await close_client(consumer)


async def partitions_of(kafka: KafkaSettings, topic: str) -> list[TopicPartition]:
    """Returns the topic's partitions. Raises TopicMissing, KafkaUnreachable."""
    count = (await partition_counts(kafka, [topic]))[topic]
    return [TopicPartition(topic, partition) for partition in range(count)]
