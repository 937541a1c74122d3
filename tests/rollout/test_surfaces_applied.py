"""Versions of the surfaces on real Kafka: one after the other, whoever applies them at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from ranking.settings import Surfaces
from ranking.surfaces.in_force import LiveSurfaces
from rollout.errors import PublisherReplaced, SurfacesChanged, VersionNotKept
from rollout.surfaces import KEPT, SurfacesPublisher, read_history
from topics.create import create_topics
from topics.errors import KafkaUnreachable, TopicMissing
from topics.producer import start_producer
from topics.settings import KafkaSettings

pytestmark = pytest.mark.usefixtures("collected")


def home(nearest: int) -> Surfaces:
    return Surfaces.model_validate({"surfaces": {"home": {"nearest": nearest}}})


@pytest.fixture
async def settings(kafka: EmbeddedKafka, prefix: str) -> KafkaSettings:
    made = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=1)
    await create_topics(made, 1)
    return made


@asynccontextmanager
async def publishing(settings: KafkaSettings) -> AsyncIterator[SurfacesPublisher]:
    async with asyncio.timeout(120), SurfacesPublisher(settings) as publisher:
        yield publisher


async def kept(settings: KafkaSettings) -> list[int]:
    return [each.version for each in (await read_history(settings)).versions]


async def test_versions_follow_each_other_and_can_be_gone_back_to(settings: KafkaSettings) -> None:
    assert (await read_history(settings)).in_force is None
    async with publishing(settings) as publisher:
        assert (await publisher.apply(home(5), applied_by="ann", comment="first")).version == 1
        assert (await publisher.apply(home(5), applied_by="bob")).version == 1  # It says the same.
        assert (await publisher.apply(home(6), applied_by="bob", base=1)).version == 2
    async with publishing(settings) as publisher:
        back = publisher.history.version(1).surfaces
        assert (await publisher.apply(back, applied_by="ann")).version == 3
        with pytest.raises(SurfacesChanged, match="from version 2, but version 3, applied by ann"):
            await publisher.apply(home(7), applied_by="bob", base=2)
        with pytest.raises(SurfacesChanged, match="from version 0"):
            await publisher.apply(home(7), applied_by="bob", base=0)
        with pytest.raises(VersionNotKept, match="there are: 1, 2, 3"):
            publisher.history.version(9)
        assert (await publisher.apply(None, applied_by="ann")).version == 4
        assert (await publisher.apply(None, applied_by="ann")).version == 4
    history = await read_history(settings)
    assert [(each.version, each.applied_by, each.comment) for each in history.versions] == [
        (1, "ann", "first"),
        (2, "bob", ""),
        (3, "ann", ""),
        (4, "ann", ""),
    ]
    assert history.in_force is not None and history.in_force.surfaces is None
    assert history.versions[2].surfaces == history.versions[0].surfaces


async def test_of_two_who_apply_at_once_one_is_refused_and_none_is_lost(settings: KafkaSettings) -> None:
    async with publishing(settings) as first, publishing(settings) as second:
        # Both have read that there is no version. The one that began earlier can write no more.
        with pytest.raises(PublisherReplaced, match="nothing was changed"):
            await first.apply(home(5), applied_by="ann")
        assert (await second.apply(home(6), applied_by="bob")).version == 1
    async with publishing(settings) as third:
        assert (await third.apply(home(7), applied_by="ann")).version == 2
    assert await kept(settings) == [1, 2]


async def test_many_who_apply_at_once_make_one_line_of_versions(settings: KafkaSettings) -> None:
    async def apply(number: int) -> int | None:
        try:
            async with publishing(settings) as publisher:
                return (await publisher.apply(home(number), applied_by=str(number))).version
        except PublisherReplaced:
            return None

    answers = await asyncio.gather(*(apply(number) for number in range(1, 5)))
    made = sorted(each for each in answers if each is not None)
    history = await read_history(settings)
    assert made and made == list(range(1, len(made) + 1)) == [each.version for each in history.versions]
    for number, version in enumerate(answers, start=1):
        if version is not None:
            assert history.version(version).applied_by == str(number)


async def test_the_newest_versions_are_kept_and_older_ones_removed(settings: KafkaSettings) -> None:
    async with publishing(settings) as publisher:
        for number in range(1, KEPT + 4):
            await publisher.apply(home(number), applied_by="ann")
        assert [each.version for each in publisher.history.versions] == list(range(4, KEPT + 4))
    assert await kept(settings) == list(range(4, KEPT + 4))


async def test_what_cannot_be_read_is_named_passed_over_and_never_written_over(
    settings: KafkaSettings,
) -> None:
    async with publishing(settings) as publisher:
        await publisher.apply(home(5), applied_by="ann")
    producer = await start_producer(settings)
    await producer.send_and_wait(settings.topics.surfaces, b"\xff", key=b"2")
    await producer.send_and_wait(settings.topics.surfaces, b"{}", key=b"stray")
    await producer.stop()
    async with publishing(settings) as publisher:
        assert [key for key, _ in publisher.history.refused] == ["2", "stray"]
        assert publisher.history.in_force is not None and publisher.history.in_force.version == 1
        assert (await publisher.apply(home(6), applied_by="ann")).version == 3
    live = LiveSurfaces(Surfaces())
    assert live().version == 0
    assert await kept(settings) == [1, 3]


async def test_without_kafka_or_its_topic_the_error_says_so(kafka: EmbeddedKafka, prefix: str) -> None:
    with pytest.raises(TopicMissing, match="recstream topics create"):
        await read_history(KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix))
    nowhere = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}", request_timeout_ms=2_000)
    with pytest.raises(KafkaUnreachable):
        await read_history(nowhere)
    with pytest.raises(KafkaUnreachable):
        async with publishing(nowhere):
            pass
