"""Kafka goes away during the work, and comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from tests.ingest.counting import all_counted, positives, start_counting
from tests.ingest.world import T0, MakeWorld, until


@pytest.fixture
async def own_kafka(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    server = EmbeddedKafka(tmp_path, free_port())
    await server.start()
    yield server
    server.kill()


@pytest.mark.drill
@pytest.mark.timeout(300)
async def test_kafka_killed_twice_under_load_loses_and_repeats_nothing(
    make_world: MakeWorld, own_kafka: EmbeddedKafka
) -> None:
    world = await make_world(bootstrap=own_kafka.bootstrap)
    worker = await world.start()
    counting = start_counting(world)
    stop = asyncio.Event()

    async def flow() -> int:
        sent = 0
        while not stop.is_set():
            # The idempotent producer retries until the broker is back, and acknowledges each record once.
            await world.send(f"u{sent % 3}", "item", event_id=f"e{sent}", at=T0 + sent, partition=sent % 2)
            sent += 1
        return sent

    flowing = asyncio.create_task(flow())
    for _ in range(2):
        await asyncio.sleep(2)
        own_kafka.kill()
        await asyncio.sleep(1)
        await own_kafka.start()
    await asyncio.sleep(3)
    stop.set()
    sent = await asyncio.wait_for(flowing, 60)
    await world.caught_up(120)
    assert sum([await world.clicks(f"u{n}") for n in range(3)]) == sent
    await all_counted(world)
    await counting.stop()
    assert await positives(world) == {"item": sent}

    async def ready() -> bool:
        return worker.health.ready

    await until(ready)
    report = await world.verified()
    assert report.equal, report.differences
