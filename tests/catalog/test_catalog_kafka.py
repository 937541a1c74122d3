"""The catalogue reads its topics from a real broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)
from structlog.testing import capture_logs

from catalog.catalog import Catalog, Change
from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.records import stats_key, vector_key
from catalog.settings import CatalogSettings
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import item_pb2
from telemetry.background import RESTARTS
from telemetry.faults import FAULTS
from topics.create import create_topics
from topics.producer import start_producer
from topics.settings import KafkaSettings

WITHIN = 30.0
Record = tuple[str, bytes, bytes | None]


@pytest.fixture
async def settings(kafka: EmbeddedKafka, prefix: str) -> KafkaSettings:
    made = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=2)
    await create_topics(made, 1)
    return made


@asynccontextmanager
async def running(settings: KafkaSettings, **options: float) -> AsyncIterator[Catalog]:
    catalog = Catalog(CatalogSettings.model_validate(options), settings)
    task = asyncio.create_task(catalog.run())
    try:
        yield catalog
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ready(catalog: Catalog) -> None:
    async with asyncio.timeout(WITHIN):
        await catalog.wait_ready()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not true():
            await asyncio.sleep(0.01)


async def send(settings: KafkaSettings, *records: Record) -> None:
    producer = await start_producer(settings, linger_ms=5)
    try:
        sent = [await producer.send(topic, value, key=key) for topic, key, value in records]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def item(settings: KafkaSettings, item_id: str, **fields: object) -> Record:
    message = item_pb2.Item(item_id=item_id, **fields)  # type: ignore[arg-type]
    return settings.topics.items, item_id.encode(), message.SerializeToString()


def vector(settings: KafkaSettings, item_id: str, *numbers: float) -> Record:
    message = catalog_pb2.ItemVector(vector=np.array(numbers, "<f4").tobytes(), content_hash=b"h" * 16)
    return settings.topics.item_vectors, vector_key(1, item_id), message.SerializeToString()


def stats(settings: KafkaSettings, item_id: str, positives: int) -> Record:
    message = catalog_pb2.ItemStats(positives=positives)
    return settings.topics.item_stats, stats_key(0, item_id), message.SerializeToString()


def titles(catalog: Catalog) -> dict[str, str]:
    rows = np.flatnonzero(catalog.eligible(1))
    return {catalog.item(row).item_id: catalog.item(row).title for row in rows.tolist()}


async def test_empty_topics_are_ready_at_once(settings: KafkaSettings) -> None:
    async with running(settings) as catalog:
        assert not catalog.ready
        await ready(catalog)
        assert catalog.ready and catalog.size == 0


async def test_everything_from_the_beginning_is_there_when_ready(settings: KafkaSettings) -> None:
    count = 3000
    await send(
        settings,
        *(item(settings, f"i{i}", title="old") for i in range(count)),
        *(item(settings, f"i{i}", title=f"T{i}") for i in range(count)),
        *(vector(settings, f"i{i}", i, 1) for i in range(count)),
        *(stats(settings, f"i{i}", i) for i in range(count)),
        (settings.topics.items, b"i7", None),
    )
    async with running(settings) as catalog:
        await ready(catalog)
        assert titles(catalog) == {f"i{i}": f"T{i}" for i in range(count) if i != 7}
        rows, _ = catalog.search(1, np.array([1, 0], np.float32), 3, catalog.eligible(1))
        assert [catalog.item_id(row) for row in rows.tolist()] == ["i2999", "i2998", "i2997"]
        assert catalog.positives.sum() == sum(range(count))


async def test_bad_records_are_skipped_and_the_others_applied(settings: KafkaSettings) -> None:
    items = settings.topics.items
    await send(
        settings,
        item(settings, "a"),
        (items, b"bad", b"\xff\xff"),
        (items, b"\xae\xff", None),
        (items, b"", b""),
        (settings.topics.item_vectors, b"no version", b""),
        (settings.topics.item_stats, b"0/a", b"\xff"),
        item(settings, "b"),
        vector(settings, "b", 1, 2),
    )
    async with running(settings) as catalog:
        await ready(catalog)
        assert set(titles(catalog)) == {"a", "b"}
        assert catalog.vector(1, "b") is not None


def faulty(monkeypatch: pytest.MonkeyPatch, fails: Callable[[str], bool]) -> None:
    """Items for which our own code raises what nobody expects."""
    put = InMemoryCatalog.put_item

    def put_item(self: InMemoryCatalog, item: Item) -> None:
        if fails(item.item_id):
            raise ZeroDivisionError(item.item_id)
        put(self, item)

    monkeypatch.setattr(InMemoryCatalog, "put_item", put_item)


def held_back() -> float:
    return FAULTS.labels("catalog-record")._value.get()


async def test_a_record_that_meets_a_fault_of_ours_costs_itself_its_place_and_not_the_catalogue(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Xatu 861, hive console 8492: one record that nobody foresaw was tried for ever, and nothing behind it was
    read."""
    faulty(monkeypatch, lambda item_id: item_id.startswith("poison"))
    await send(settings, *(item(settings, name) for name in ("a", "poison-1", "b", "poison-2", "c")))
    before, restarts = held_back(), RESTARTS.labels("catalog-reader")._value.get()
    with capture_logs() as logs:
        async with running(settings) as catalog:
            await ready(catalog)
            assert set(titles(catalog)) == {"a", "b", "c"}
            await send(settings, item(settings, "poison-3"), item(settings, "d"))
            await until(lambda: "d" in titles(catalog))
    assert held_back() == before + 3 and RESTARTS.labels("catalog-reader")._value.get() == restarts
    faults = [line for line in logs if line["event"] == "fault_held_back"]
    assert [line["cause"] for line in faults] == [f"ZeroDivisionError('poison-{n}')" for n in (1, 2, 3)]
    assert all(
        "ZeroDivisionError" in line["trace"] and line["topic"] == settings.topics.items for line in faults
    )


async def test_where_every_record_meets_a_fault_reading_stops_and_the_catalogue_is_not_ready(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a fault is no matter of records: an empty catalogue must not take traffic."""
    broken = True
    faulty(monkeypatch, lambda item_id: broken)
    await send(settings, *(item(settings, f"i{i}") for i in range(500)))
    before, restarts = held_back(), RESTARTS.labels("catalog-reader")._value.get()
    async with running(settings) as catalog:
        await until(lambda: RESTARTS.labels("catalog-reader")._value.get() >= restarts + 2)
        assert not catalog.ready and held_back() == before + 100
        broken = False
        await ready(catalog)
        assert len(titles(catalog)) == 400


async def test_a_process_that_is_short_of_memory_loses_no_record(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, short = InMemoryCatalog.put_item, [True]

    def put_item(self: InMemoryCatalog, item: Item) -> None:
        if item.item_id == "b" and short and short.pop():
            raise MemoryError
        put(self, item)

    monkeypatch.setattr(InMemoryCatalog, "put_item", put_item)
    await send(settings, *(item(settings, name) for name in "abc"))
    async with running(settings) as catalog:
        await ready(catalog)
        assert set(titles(catalog)) == {"a", "b", "c"} and not short


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_topic_that_the_broker_compresses_is_read(settings: KafkaSettings, codec: str) -> None:
    """aiokafka 1112, kafka-python 2316: with `compression.type` set on the topic, consumers got error 76."""
    change = ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, settings.topics.items, incremental_configs=[change])
    admin = AdminClient(settings.admin_options())
    await asyncio.to_thread(admin.incremental_alter_configs([resource])[resource].result, 10)
    await send(settings, *(item(settings, f"i{i}", title="long " * 40) for i in range(20)))
    async with running(settings) as catalog:
        await ready(catalog)
        assert len(titles(catalog)) == 20


async def written(settings: KafkaSettings, topic: str, end: int) -> None:
    """Waits until both partitions of the topic can be read up to this offset."""
    consumer = AIOKafkaConsumer(**settings.client_options(), isolation_level="read_committed")
    partitions = [TopicPartition(topic, number) for number in range(2)]
    async with asyncio.timeout(20):
        await consumer.start()
        try:
            while min((await consumer.end_offsets(partitions)).values()) < end:
                await asyncio.sleep(0.05)
        finally:
            await consumer.stop()


@pytest.mark.parametrize("last", ["commit", "abort", "both"])
async def test_ends_that_are_markers_of_transactions_are_reached(settings: KafkaSettings, last: str) -> None:
    producer = await start_producer(settings, transactional_id=f"{settings.topic_prefix}statistics")
    topic = settings.topics.item_stats
    try:
        for name in ("commit", "abort") if last == "both" else (last,):
            await producer.begin_transaction()
            for partition in range(2):
                value = catalog_pb2.ItemStats(positives=9).SerializeToString()
                await producer.send_and_wait(topic, value, key=stats_key(0, name), partition=partition)
            await (producer.commit_transaction() if name == "commit" else producer.abort_transaction())
    finally:
        await producer.stop()
    # A commit is acknowledged before its markers are written. Until then its records cannot be read.
    await written(settings, topic, 4 if last == "both" else 2)
    async with running(settings) as catalog:
        await ready(catalog)
        assert catalog.positives.tolist() == ([] if last == "abort" else [9])


async def test_an_open_transaction_does_not_block_readiness_and_is_read_when_committed(
    settings: KafkaSettings,
) -> None:
    producer = await start_producer(settings, transactional_id=f"{settings.topic_prefix}statistics")
    try:
        await producer.begin_transaction()
        value = catalog_pb2.ItemStats(positives=9).SerializeToString()
        await producer.send_and_wait(settings.topics.item_stats, value, key=stats_key(0, "a"))
        async with running(settings) as catalog:
            await ready(catalog)
            assert catalog.size == 0
            await producer.commit_transaction()
            await until(lambda: catalog.size == 1)
    finally:
        await producer.stop()


async def test_a_withdrawal_reaches_listeners_at_once(settings: KafkaSettings) -> None:
    await send(settings, item(settings, "a"), item(settings, "b"))
    heard: list[tuple[Change, Sequence[int]]] = []
    async with running(settings) as catalog:
        await ready(catalog)
        row_a, row_b = catalog.row("a"), catalog.row("b")
        catalog.listen(lambda change, rows: heard.append((change, rows)))
        await send(settings, item(settings, "a", withdrawn=True), (settings.topics.items, b"b", None))
        await until(lambda: len(heard) == 2)
        assert sorted((change.value, rows) for change, rows in heard) == [
            ("removed", (row_b,)),
            ("withdrawn", (row_a,)),
        ]
        assert titles(catalog) == {}


async def test_the_catalogue_waits_for_topics_that_are_created_later(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=1)
    async with running(settings) as catalog:
        await asyncio.sleep(0.5)
        assert not catalog.ready
        assert await create_topics(settings, 1), "reading must not create the topics"
        await ready(catalog)


async def test_partitions_that_are_added_later_are_read(settings: KafkaSettings) -> None:
    topic = settings.topics.items
    await send(settings, item(settings, "a"))
    async with running(settings, partitions_check_seconds=0.2) as catalog:
        await ready(catalog)
        admin = AdminClient(settings.admin_options())
        await asyncio.to_thread(admin.create_partitions([NewPartitions(topic, 5)])[topic].result, 10)
        producer = await start_producer(settings)
        try:
            for i in range(5):
                _, key, value = item(settings, f"p{i}")
                async with asyncio.timeout(WITHIN):
                    await producer.send_and_wait(topic, value, key=key, partition=i)
        finally:
            await producer.stop()
        await until(lambda: set(titles(catalog)) == {"a", "p0", "p1", "p2", "p3", "p4"})


async def test_searches_stay_right_while_the_graph_is_built(settings: KafkaSettings) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(4000, 8)).astype(np.float32)
    await send(
        settings,
        *(item(settings, f"i{i}") for i in range(len(data))),
        *(vector(settings, f"i{i}", *each) for i, each in enumerate(data.tolist())),
    )
    async with running(settings, exact_below=1000) as catalog:
        await ready(catalog)
        (index,) = catalog._vectors
        await until(lambda: index._graph is not None)
        for query in data[:20]:
            rows, _ = catalog.search(1, query, 10, catalog.eligible(1))
            best = np.argsort(-(data @ query))[:10]
            found = {catalog.item_id(row) for row in rows.tolist()}
            assert len(found & {f"i{i}" for i in best}) >= 8


@pytest.mark.drill
async def test_the_catalogue_continues_after_the_broker_was_killed(tmp_path: Path, prefix: str) -> None:
    broker = EmbeddedKafka(tmp_path, free_port())
    await broker.start()
    try:
        settings = KafkaSettings(bootstrap=broker.bootstrap, topic_prefix=prefix, partitions=2)
        await create_topics(settings, 1)
        await send(settings, item(settings, "a"))
        async with running(settings) as catalog:
            await ready(catalog)
            for name in ("first", "second"):
                broker.kill()
                await asyncio.sleep(1)
                assert "a" in titles(catalog) and catalog.ready, "what was read is served meanwhile"
                await broker.start()
                await send(settings, item(settings, name))
                async with asyncio.timeout(WITHIN):
                    while name not in titles(catalog):
                        await asyncio.sleep(0.01)
    finally:
        broker.kill()
