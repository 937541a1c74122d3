"""Runs the worker that folds changes of items, and reads what it wrote."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from catalog.items.item_changes import decode_state
from catalog.items.item_state import ItemState, merge
from ingest.consuming.offsets import committed, partitions_of
from ingest.consuming.read_topic import read_to_end
from ingest.consuming.supervise import supervise
from ingest.items.worker import ItemsWorker
from ingest.settings import IngestSettings
from telemetry.health import Health
from tests.ingest.counting import Running
from tests.ingest.world import until
from topics.settings import KafkaSettings

SETTINGS = IngestSettings(session_timeout_ms=6_000, backoff_max_ms=500, topic_check_seconds=1)


def start_folding(kafka: KafkaSettings, settings: IngestSettings = SETTINGS) -> Running:
    health, stop = Health(), asyncio.Event()
    worker = ItemsWorker(kafka, settings, health)
    return Running(asyncio.create_task(supervise("items", worker.run, health, settings, stop)), stop)


async def all_folded(kafka: KafkaSettings) -> None:
    """Waits until every change is folded and committed."""
    topic = kafka.topics.item_changes

    async def folded() -> bool:
        partitions = await partitions_of(kafka, topic)
        found = await committed(kafka, kafka.topics.item_changes_group, partitions)
        consumer = AIOKafkaConsumer(**kafka.client_options())
        await consumer.start()
        try:
            ends = await consumer.end_offsets(partitions)
        finally:
            await consumer.stop()
        return all(end == (found[tp].offset if tp in found else 0) for tp, end in ends.items())

    await until(folded)


async def item_records(kafka: KafkaSettings) -> list[ConsumerRecord]:
    """The committed records of the topic of items."""
    consumer = AIOKafkaConsumer(**kafka.client_options(), isolation_level="read_committed")
    await consumer.start()
    try:
        partitions = await partitions_of(kafka, kafka.topics.items)
        consumer.assign(partitions)
        return [record async for record in read_to_end(consumer, partitions)]
    finally:
        await consumer.stop()


async def last_states(kafka: KafkaSettings) -> dict[str, ItemState]:
    """What the last record of each item says, as compaction would leave it."""
    newest = {(record.partition, record.key): record for record in await item_records(kafka)}
    found: dict[str, ItemState] = {}
    for record in newest.values():
        state = decode_state(record).without_contents()
        item_id = state.item.item_id
        found[item_id] = merge(found[item_id], state) if item_id in found else state
    return found
