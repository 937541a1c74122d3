"""What the loop promises its handlers: batches are tried again, or left whole to the next owner of their partitions."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from ingest.consuming.commits import Commits
from ingest.consuming.loop import (
    NOTHING,
    Assignment,
    Batch,
    BatchHandler,
    ConsumerLoop,
    Offsets,
    Subscription,
    batch_back_off,
)
from ingest.errors import BatchAbandoned, TooManyDeadLetters
from ingest.settings import IngestSettings
from tests.ingest.world import World, until
from topics.settings import KafkaSettings

FAST = IngestSettings(backoff_ms=1, backoff_max_ms=5)
SLOW = IngestSettings(backoff_ms=60_000, backoff_max_ms=60_000)


def batch(settings: IngestSettings, stop: asyncio.Event | None = None) -> Batch:
    return Batch({}, Assignment(), batch_back_off(settings), stop or asyncio.Event())


async def test_a_batch_is_tried_again_until_it_succeeds() -> None:
    numbers: list[int] = []

    async def attempt(number: int) -> None:
        numbers.append(number)
        if number < 3:
            raise ConnectionError("away")

    await batch(FAST).retry(attempt)
    assert numbers == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [ValueError("x"), TooManyDeadLetters(5, "not_json"), BatchAbandoned("x")])
async def test_a_failure_that_must_not_be_retried_is_raised_at_once(error: Exception) -> None:
    async def first(number: int) -> None:
        raise error

    async def second(number: int) -> None:
        raise error if number else ConnectionError("away")

    for attempt in (first, second):
        with pytest.raises(type(error)):
            await batch(FAST).retry(attempt, unless=(ValueError,))
    if isinstance(error, ValueError):
        with pytest.raises(ValueError, match="x"):
            await batch(FAST).retry(first, on=(ConnectionError,))


@pytest.mark.parametrize("end", ["stop", "leaving"])
async def test_a_pause_ends_with_the_worker_and_with_the_assignment(end: str) -> None:
    stop = asyncio.Event()
    slow = batch(SLOW, stop)
    failed = asyncio.Event()

    async def attempt(number: int) -> None:
        failed.set()
        raise ConnectionError("away")

    trying = asyncio.create_task(slow.retry(attempt))
    await failed.wait()
    (stop if end == "stop" else slow.assignment.leaving).set()
    with pytest.raises(BatchAbandoned):
        await asyncio.wait_for(trying, 30)


async def test_work_that_may_be_abandoned_ends_before_the_partitions_move() -> None:
    moving = batch(FAST)
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(moving.unless_leaving(work()))
    await asyncio.sleep(0)
    moving.assignment.leaving.set()
    with pytest.raises(BatchAbandoned):
        await asyncio.wait_for(waiting, 30)
    assert ended.is_set()


class Abandons(BatchHandler):
    """Abandons the first batch, and keeps the offsets of all others."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.positioned_before: list[int] = []
        self.positions = 0

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        self.positions += 1

    async def handle(self, batch: Batch) -> Offsets:
        self.positioned_before.append(self.positions)
        self.seen.append([record.offset for part in batch.records.values() for record in part])
        if len(self.seen) == 1:
            raise BatchAbandoned
        return {tp: OffsetAndMetadata(part[-1].offset + 1, "") for tp, part in batch.records.items()}

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        return NOTHING


TP = TopicPartition("t", 0)


class FakeConsumer:
    """One partition, a record a poll, and commits that fail as told."""

    def __init__(self, **_: object) -> None:
        self.committed: list[int] = []
        self.commit_raises: Exception | None = None
        self.closed = False
        self._polled = 0

    def subscribe(self, topics: list[str], listener: ConsumerLoop) -> None:
        self._listener = listener

    async def start(self) -> None:
        await self._listener.on_partitions_revoked(set())  # as aiokafka does before it joins
        await self._listener.on_partitions_assigned({TP})

    def assignment(self) -> set[TopicPartition]:
        return {TP}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._polled = offset

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[SimpleNamespace]]:
        await asyncio.sleep(0.001)
        self._polled += 1
        return {TP: [SimpleNamespace(offset=self._polled - 1)]}

    async def commit(self, offsets: Offsets) -> None:
        if self.commit_raises is not None:
            raise self.commit_raises
        self.committed.append(offsets[TP].offset)

    async def stop(self) -> None:
        self.closed = True


class Handles(BatchHandler):
    def __init__(self) -> None:
        self.positioning = asyncio.Event()
        self.hang = False

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        self.positioning.set()
        if self.hang:
            await asyncio.Event().wait()

    async def handle(self, batch: Batch) -> Offsets:
        return {TP: OffsetAndMetadata(batch.records[TP][-1].offset + 1, "")}


@pytest.fixture
def fake_loop(monkeypatch: pytest.MonkeyPatch) -> tuple[ConsumerLoop, FakeConsumer, Handles]:
    monkeypatch.setattr("ingest.consuming.loop.AIOKafkaConsumer", FakeConsumer)
    handler = Handles()
    subscription = Subscription(group="g", topics=("t",), start="earliest", max_records=1)
    loop = ConsumerLoop(
        KafkaSettings(), subscription, handler, IngestSettings(commit_interval_ms=1, backoff_max_ms=10)
    )
    return loop, loop._consumer, handler  # type: ignore[return-value]


FakeLoop = tuple[ConsumerLoop, FakeConsumer, Handles]


async def committed_beyond(consumer: FakeConsumer, offset: int) -> None:
    async with asyncio.timeout(30):
        while max(consumer.committed, default=0) <= offset:
            await asyncio.sleep(0.001)


async def test_a_fault_of_the_commits_ends_the_loop_instead_of_the_commits(fake_loop: FakeLoop) -> None:
    """onyx-kafka 20: the task that commits died of an exception, and records were read on without a commit."""
    loop, consumer, _ = fake_loop
    running = asyncio.create_task(loop.run(asyncio.Event()))
    await committed_beyond(consumer, 0)
    consumer.commit_raises = KafkaError("refused")
    await asyncio.sleep(0.02)
    assert not running.done(), "what Kafka refuses is tried again"
    consumer.commit_raises = ZeroDivisionError("a fault of ours")
    await asyncio.wait({running}, timeout=10)
    assert running.done() and isinstance(running.exception(), ZeroDivisionError)
    assert consumer.closed


async def test_it_stops_at_once_though_positions_are_still_looked_up(fake_loop: FakeLoop) -> None:
    """rafka 73: a consumer that was told to stop before it had its partitions took long to close. Positions may take
    half a minute for each partition."""
    loop, consumer, handler = fake_loop
    handler.hang = True
    stop = asyncio.Event()
    running = asyncio.create_task(loop.run(stop))
    await asyncio.wait_for(handler.positioning.wait(), 30)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert consumer.closed and not consumer.committed


async def test_a_fault_while_partitions_move_leaves_no_mark_to_commit_for_their_next_owner(
    fake_loop: FakeLoop,
) -> None:
    """kafka-python 917: an exception of the listener is logged, and the consumer goes on as if nothing happened."""
    loop, consumer, _ = fake_loop
    running = asyncio.create_task(loop.run(asyncio.Event()))
    await committed_beyond(consumer, 0)
    before = loop._assignment
    consumer.commit_raises = ZeroDivisionError("a fault of ours")
    loop._commits.mark({TP: OffsetAndMetadata(10**9, "")})
    with pytest.raises(ZeroDivisionError):
        await loop.on_partitions_revoked({TP})
    assert before.revoked and not loop._commits._marks
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_abandoned_batch_is_polled_again_and_committed_once_it_is_handled(world: World) -> None:
    for number in range(3):
        await world.send("ann", event_id=f"e{number}", partition=0)
    handler, stop = Abandons(), asyncio.Event()
    topic = world.kafka.topics.interactions
    group = f"{world.kafka.topic_prefix}abandons"
    subscription = Subscription(group=group, topics=(topic,), start="earliest", max_records=10)
    running = asyncio.create_task(ConsumerLoop(world.kafka, subscription, handler, world.settings).run(stop))

    async def handled() -> bool:
        return any(2 in offsets for offsets in handler.seen[1:])

    await until(handled)
    stop.set()
    await asyncio.wait_for(running, 30)
    assert handler.seen[0][0] == 0
    assert [offset for offsets in handler.seen[1:] for offset in offsets] == [0, 1, 2]
    assert min(handler.positioned_before) >= 1
    consumer = AIOKafkaConsumer(**world.kafka.client_options(), group_id=group)
    await consumer.start()
    try:
        assert await consumer.committed(TopicPartition(topic, 0)) == 3
    finally:
        await consumer.stop()
