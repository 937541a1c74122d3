"""The record of the served versions: every process reads it, and it takes effect once its vectors are read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiokafka.errors import KafkaError

from catalog.catalog import Catalog
from catalog.errors import BadRecord
from catalog.records import vector_key
from catalog.settings import CatalogSettings
from catalog.version_watcher import KEY, VersionWatcher, VersionWriter, decode_versions, read_versions
from local.servers.kafka import EmbeddedKafka
from recstream.storage.v1.catalog_pb2 import ItemVector
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from topics.create import create_topics
from topics.producer import start_producer
from topics.settings import KafkaSettings

WITHIN = 30.0
pytestmark = pytest.mark.usefixtures("collected")


def record(version: int, share: float = 1.0, **ends: int) -> ServedVersions:
    vector_ends = {int(name[1:]): end for name, end in ends.items()}
    return ServedVersions(next=ServedVersion(version=version), share=share, vector_ends=vector_ends)


@pytest.fixture
async def kafka_settings(kafka: EmbeddedKafka, prefix: str) -> KafkaSettings:
    made = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=1)
    await create_topics(made, 1)
    return made


@asynccontextmanager
async def running(settings: KafkaSettings) -> AsyncIterator[Catalog]:
    catalog = Catalog(CatalogSettings(), settings)
    task = asyncio.create_task(catalog.run())
    try:
        yield catalog
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def writing(settings: KafkaSettings) -> AsyncIterator[VersionWriter]:
    writer = await VersionWriter.begin(settings)
    try:
        yield writer
    finally:
        await writer.close()


async def vectors(settings: KafkaSettings, version: int, count: int) -> None:
    producer = await start_producer(settings)
    value = ItemVector(vector=np.ones(4, "<f4").tobytes(), content_hash=b"h").SerializeToString()
    for number in range(count):
        await producer.send_and_wait(
            settings.topics.item_vectors, value, key=vector_key(version, f"item-{number}")
        )
    await producer.stop()


async def serves(catalog: Catalog, version: int) -> None:
    async with asyncio.timeout(WITHIN):
        while catalog.version_watcher.record.next.version != version:
            await asyncio.sleep(0.02)


async def test_the_newest_record_is_read(kafka_settings: KafkaSettings) -> None:
    assert await read_versions(kafka_settings) == ServedVersions()
    async with writing(kafka_settings) as writer:
        for version in (1, 2, 3):
            await writer.write(record(version))
    assert await read_versions(kafka_settings) == record(3)


async def test_a_later_writer_fences_an_earlier_one(kafka_settings: KafkaSettings) -> None:
    async with writing(kafka_settings) as first, writing(kafka_settings) as second:
        with pytest.raises(KafkaError):
            await first.write(record(1))
        await second.write(record(2))
    assert await read_versions(kafka_settings) == record(2)


async def test_a_record_takes_effect_when_its_vectors_are_read(kafka_settings: KafkaSettings) -> None:
    async with running(kafka_settings) as catalog, writing(kafka_settings) as writer:
        await asyncio.wait_for(catalog.wait_ready(), WITHIN)
        await vectors(kafka_settings, 2, 5)
        await writer.write(record(2, p0=5))
        await serves(catalog, 2)
        assert all(catalog.vector(2, f"item-{number}") is not None for number in range(5))


async def test_a_process_that_starts_later_has_the_record_when_it_is_ready(
    kafka_settings: KafkaSettings,
) -> None:
    await vectors(kafka_settings, 2, 5)
    async with writing(kafka_settings) as writer:
        await writer.write(record(2, p0=5))
    async with running(kafka_settings) as catalog:
        await asyncio.wait_for(catalog.wait_ready(), WITHIN)
        assert catalog.version_watcher.record == record(2, p0=5)
        assert catalog.vector(2, "item-4") is not None


async def test_vector_ends_past_the_end_of_a_recreated_topic_count_as_reached(
    kafka_settings: KafkaSettings,
) -> None:
    async with writing(kafka_settings) as writer:
        await writer.write(record(2, p0=1_000))
    async with running(kafka_settings) as catalog:
        await asyncio.wait_for(catalog.wait_ready(), WITHIN)
        assert catalog.version_watcher.record.next.version == 2


async def test_records_that_are_none_keep_nobody_from_reading_and_writing(
    kafka_settings: KafkaSettings,
) -> None:
    """Schema Registry 836: one stray record on the topic of its state, and it started no more."""
    async with writing(kafka_settings) as writer:
        await writer.write(record(2))
        producer = await start_producer(kafka_settings)
        for key, value in ((b"stray", b"x"), (KEY, b"\xff")):
            await producer.send_and_wait(kafka_settings.topics.model_versions, value, key=key)
        await producer.stop()
        assert await read_versions(kafka_settings) == record(2)
        async with running(kafka_settings) as catalog:
            await asyncio.wait_for(catalog.wait_ready(), WITHIN)
            assert catalog.version_watcher.record == record(2)
        await writer.write(record(3))
    assert await read_versions(kafka_settings) == record(3)


async def test_partitions_that_a_recreated_topic_does_not_have_are_not_waited_for(
    kafka_settings: KafkaSettings,
) -> None:
    """kafka-lag-exporter 478: after a topic was recreated with fewer partitions, whoever remembered the others asked
    for them for ever."""
    await vectors(kafka_settings, 2, 3)
    async with writing(kafka_settings) as writer:
        await writer.write(record(2, p0=3, p1=5, p7=1))
    async with running(kafka_settings) as catalog:
        await asyncio.wait_for(catalog.wait_ready(), WITHIN)
        assert catalog.version_watcher.record.next.version == 2
        assert catalog.vector(2, "item-2") is not None


async def test_vectors_of_versions_that_are_served_are_held_before_newer_ones(
    kafka_settings: KafkaSettings,
) -> None:
    for version in (5, 7, 8, 9, 10):
        await vectors(kafka_settings, version, 1)
    async with writing(kafka_settings) as writer:
        await writer.write(record(5))
    async with running(kafka_settings) as catalog:
        await asyncio.wait_for(catalog.wait_ready(), WITHIN)
        assert catalog.vector(5, "item-0") is not None
        assert len(catalog.versions) == 3


async def test_only_the_newest_of_the_waiting_records_takes_effect() -> None:
    served, reached, heard = VersionWatcher(), asyncio.Event(), []
    served.listen(lambda now: heard.append(now.next.version))

    async def reach(ends: object) -> None:
        if ends:
            await reached.wait()

    following = asyncio.create_task(served.follow(reach))
    served.on_record(record(1, p0=10))
    await asyncio.sleep(0.05)
    assert heard == [] and not served.settled.is_set()
    served.on_record(record(2))
    await asyncio.wait_for(served.settled.wait(), 5)
    reached.set()
    await asyncio.sleep(0.05)
    assert heard == [2]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def test_invalid_records_are_refused() -> None:
    for key, value in (
        (None, b""),
        (b"other", b""),
        (KEY, b"\xff"),
        (KEY, record(1, 2.0).SerializeToString()),
    ):
        with pytest.raises(BadRecord):
            decode_versions(key, value)
    assert decode_versions(KEY, None) == ServedVersions()
