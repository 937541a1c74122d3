"""Workers that fail are started again. A cancellation inside them does not count as their end."""

import asyncio

import pytest
from aiokafka.errors import KafkaError

from ingest.consuming.supervise import supervise
from ingest.consuming.with_timeout import with_timeout
from ingest.errors import TooManyDeadLetters, TopicsMissing
from ingest.settings import IngestSettings
from telemetry.health import Health

SETTINGS = IngestSettings(backoff_ms=1, backoff_max_ms=5, topic_check_seconds=0.01)


@pytest.mark.parametrize(
    "failure",
    [KafkaError("x"), ValueError("x"), asyncio.CancelledError(), TopicsMissing("x"), OSError("x")],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_worker_is_restarted_after(failure: BaseException) -> None:
    health, stop = Health(), asyncio.Event()
    ready: list[bool] = []

    async def work(_: asyncio.Event) -> None:
        ready.append(health.ready)
        if len(ready) < 3:
            raise failure
        health.up("worker")

    await asyncio.wait_for(supervise("worker", work, health, SETTINGS, stop), 30)
    assert ready == [False, False, False]
    assert health.ready


async def test_a_final_halt_stays_unready_until_the_end() -> None:
    health, stop = Health(), asyncio.Event()
    runs = 0

    async def work(_: asyncio.Event) -> None:
        nonlocal runs
        runs += 1
        raise TooManyDeadLetters(5, "not_protobuf")

    running = asyncio.create_task(supervise("worker", work, health, SETTINGS, stop))
    await asyncio.sleep(0.2)
    assert runs == 1
    assert "none of the last 5 records" in health.not_ready["worker"]
    stop.set()
    await asyncio.wait_for(running, 30)


async def test_cancelling_the_supervisor_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work(_: asyncio.Event) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    running = asyncio.create_task(supervise("worker", work, Health(), SETTINGS, asyncio.Event()))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_call_cancelled_from_within_does_not_look_like_our_own_cancellation() -> None:
    async def broken() -> None:
        raise asyncio.CancelledError

    with pytest.raises(KafkaError):
        await with_timeout(broken(), 30)
    with pytest.raises(TimeoutError):
        await with_timeout(asyncio.sleep(3600), 0.01)
    assert await with_timeout(asyncio.sleep(0, "answer"), 30) == "answer"
