"""Topics on a real broker."""

import asyncio
import socket
import threading
from typing import Protocol

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

import topics.check
from topics.check import check_topics
from topics.create import create_topics
from topics.errors import KafkaUnreachable, TopicMissing, TopicNotCreated
from topics.ids import topic_ids
from topics.producer import start_producer
from topics.settings import KafkaSettings


class Broker(Protocol):
    bootstrap: str


@pytest.fixture
def settings(kafka: Broker, prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=2)


@pytest.fixture
def nowhere() -> KafkaSettings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return KafkaSettings(bootstrap=f"127.0.0.1:{port}", request_timeout_ms=500)


async def make(settings: KafkaSettings, name: str, **config: str) -> None:
    admin = AdminClient(settings.admin_options())
    dotted = {key.replace("_", "."): value for key, value in config.items()}
    await asyncio.to_thread(admin.create_topics([NewTopic(name, 1, 1, config=dotted)])[name].result, 10)


async def test_creating_twice_creates_once_without_problems(settings: KafkaSettings) -> None:
    assert sorted(await create_topics(settings, 30)) == sorted(settings.topics.all)
    assert await create_topics(settings, 30) == []
    assert await check_topics(settings, 30) == []


async def test_every_absent_topic_is_reported(settings: KafkaSettings) -> None:
    problems = await check_topics(settings, 30)
    assert {problem.topic for problem in problems} == set(settings.topics.all)
    assert all(problem.missing for problem in problems)


async def test_topics_that_lose_records_are_reported_with_what_to_do(settings: KafkaSettings) -> None:
    await make(settings, settings.topics.interactions, retention_ms="3600000")
    await make(settings, settings.topics.items, cleanup_policy="delete")
    await make(settings, settings.topics.item_stats, cleanup_policy="compact,delete")
    await create_topics(settings, 30)
    problems = {problem.topic: problem.text for problem in await check_topics(settings, 30)}
    topics = settings.topics
    assert set(problems) == {topics.interactions, topics.items, topics.item_stats}
    assert "raise retention.ms" in problems[settings.topics.interactions]
    assert "set cleanup.policy=compact" in problems[settings.topics.items]
    assert "set cleanup.policy=compact" in problems[settings.topics.item_stats]


async def test_a_longer_time_to_live_than_the_topic_keeps_is_reported(settings: KafkaSettings) -> None:
    await create_topics(settings, 30)
    (problem,) = await check_topics(settings, 60)
    assert problem.topic == settings.topics.interactions and not problem.missing


async def test_more_replicas_than_brokers_is_an_error_with_the_topics_name(settings: KafkaSettings) -> None:
    with pytest.raises(TopicNotCreated, match="interactions"):
        await create_topics(settings.model_copy(update={"replication": 3}), 30)


async def test_a_recreated_topic_has_a_new_id(settings: KafkaSettings) -> None:
    await create_topics(settings, 30)
    name = settings.topics.slates
    before = await topic_ids(settings, [name])
    assert len(before[name]) == 16
    assert await topic_ids(settings, [name]) == before
    admin = AdminClient(settings.admin_options())
    await asyncio.to_thread(admin.delete_topics([name])[name].result, 10)
    async with asyncio.timeout(20):
        # Brokers learn of a deletion a moment after it is acknowledged.
        while name not in {problem.topic for problem in await check_topics(settings, 30) if problem.missing}:
            await asyncio.sleep(0.05)
        assert await create_topics(settings, 30) == [name]
    assert (await topic_ids(settings, [name]))[name] != before[name]


async def test_a_topic_that_is_deleted_during_the_check_is_missing(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topics(settings, 30)
    gone = settings.topics.slates
    admin = AdminClient(settings.admin_options())
    await asyncio.to_thread(admin.delete_topics([gone])[gone].result, 10)
    # Simulates a description from just before the deletion.
    monkeypatch.setattr(topics.check, "existing", lambda admin, names, seconds: dict.fromkeys(names))
    async with asyncio.timeout(20):
        while not (problems := [p for p in await check_topics(settings, 30) if p.topic == gone]):
            await asyncio.sleep(0.05)
    assert [problem.missing for problem in problems] == [True]


async def test_ids_of_absent_topics_name_each_of_them(settings: KafkaSettings) -> None:
    with pytest.raises(TopicMissing) as caught:
        await topic_ids(settings, ["gone.one", "gone.two"])
    assert set(caught.value.names) == {"gone.one", "gone.two"}


async def test_a_dead_broker_is_an_error_and_not_a_hang(nowhere: KafkaSettings) -> None:
    with pytest.raises(KafkaUnreachable):
        await topic_ids(nowhere, ["items"])
    with pytest.raises(KafkaUnreachable):
        await create_topics(nowhere, 30)
    with pytest.raises(KafkaUnreachable):
        await check_topics(nowhere, 30)
    with pytest.raises(KafkaUnreachable):
        await start_producer(nowhere)


async def test_the_producer_accepts_a_record_of_nearly_a_mebibyte(settings: KafkaSettings) -> None:
    await create_topics(settings, 30)
    producer = await start_producer(settings)
    try:
        sent = await producer.send_and_wait(settings.topics.items, b"x" * 1_000_000, key=b"k")
        assert sent.offset == 0
    finally:
        await producer.stop()


async def test_a_process_that_ends_does_not_wait_for_a_broker_that_does_not_answer(
    nowhere: KafkaSettings,
) -> None:
    before = set(threading.enumerate())
    asking = asyncio.create_task(topic_ids(nowhere, ["events"], timeout=15))
    await asyncio.sleep(0.1)
    begun = set(threading.enumerate()) - before
    assert begun and all(thread.daemon for thread in begun)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
