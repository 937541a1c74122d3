"""Deletes all item statistics."""

import asyncio

from ingest.consuming.read_topic import read_stats
from topics.closing import close_client
from topics.producer import start_producer
from topics.settings import KafkaSettings


async def reset_statistics(kafka: KafkaSettings) -> int:
    """Writes a tombstone for every key of `item-stats`. The statistics worker must be stopped.

    Returns:
        The number of keys.

    Raises:
        KafkaError, TimeoutError, KafkaUnreachable: Kafka fails.
    """
    there: dict[tuple[int, bytes], None] = {}
    async for record in read_stats(kafka):
        if record.key is None:
            continue
        if record.value is None:
            there.pop((record.partition, record.key), None)
        else:
            there[record.partition, record.key] = None
    producer = await start_producer(kafka)
    try:
        sent = [
            await producer.send(kafka.topics.item_stats, None, key=key, partition=partition)
            for partition, key in there
        ]
        await asyncio.gather(*sent)
    finally:
        await close_client(producer)
    return len(there)
