"""Reads topics from their first record to their end."""

import asyncio
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ingest.consuming.offsets import partitions_of, reader
from topics.settings import KafkaSettings

_READ_SECONDS = 30.0


async def read_stats(kafka: KafkaSettings) -> AsyncIterator[ConsumerRecord]:
    """Yields every committed record of `item-stats` up to its current end, in order within each partition. Raises
    KafkaError, and TimeoutError if Kafka does not answer for half a minute."""
    async with reader(
        kafka, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        partitions = await partitions_of(kafka, kafka.topics.item_stats)
        consumer.assign(partitions)
        async for record in read_to_end(consumer, partitions):
            yield record


async def read_to_end(
    consumer: AIOKafkaConsumer,
    partitions: list[TopicPartition],
    ends: dict[TopicPartition, int] | None = None,
    newest: int | None = None,
    first: dict[TopicPartition, int] | None = None,
) -> AsyncIterator[ConsumerRecord]:
    """Yields the records of an assigned consumer, from `first` of each partition up to `ends`, exclusive. At its end a
    partition is paused.

    Args:
        consumer: An assigned consumer.
        partitions: Its partitions.
        ends: Where to end. None: at the current ends.
        newest: Only the newest records, so many of each partition. None: all.
        first: Where to begin. None: at the first record of each partition.
    """
    if ends is None:
        ends = await consumer.end_offsets(partitions)
    if first is None:
        first = await consumer.beginning_offsets(partitions)
    if newest is not None:
        first = {tp: max(offset, ends[tp] - newest) for tp, offset in first.items()}
    left = {tp for tp in partitions if first[tp] < ends[tp]}
    for tp in partitions:
        consumer.seek(tp, first[tp])
        if tp not in left:
            consumer.pause(tp)
    while left:
        async with asyncio.timeout(_READ_SECONDS):
            polled = await consumer.getmany(timeout_ms=500, max_records=5_000)
            # The position decides, not the last record: a transaction ends with a marker that consumers do not get.
            at = {tp: await consumer.position(tp) for tp in left}
        for tp, part in polled.items():
            for record in part:
                if record.offset < ends[tp]:
                    yield record
        for tp in [tp for tp in left if at[tp] >= ends[tp]]:
            left.discard(tp)
            consumer.pause(tp)
