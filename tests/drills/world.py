"""What the drills share: items, clients of the running system, and events that are sent until they are acknowledged."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from local.stack import Stack
from profiles.times import timestamp
from readers.messages import item_records
from recstream.client import Client, RecstreamError
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.item_pb2 import Item
from topics.names import Topics
from topics.producer import start_producer
from topics.send_all import send_all

ITEMS = tuple(f"item-{number:03}" for number in range(200))
CATEGORIES = ("red", "green", "blue", "grey")


def item(item_id: str, **fields: object) -> Item:
    number = int(item_id.rsplit("-", 1)[1])
    return Item(item_id=item_id, title=f"Title of {item_id}", categories=[CATEGORIES[number % 4]], **fields)  # type: ignore[arg-type]


async def fill(stack: Stack) -> None:
    """Puts the items and waits until the server has all their vectors."""
    producer = await start_producer(stack.settings.kafka)
    try:
        topic = Topics(stack.settings.kafka.topic_prefix).items
        await send_all(producer, topic, item_records(item(i) for i in ITEMS))
    finally:
        await producer.stop()
    async with Client(stack.address("server")) as client, asyncio.timeout(60):
        for item_id in ITEMS:
            while not await _embedded(client, item_id):
                await asyncio.sleep(0.05)


async def _embedded(client: Client, item_id: str) -> bool:
    try:
        return (await client.item(item_id)).embedded
    except RecstreamError:
        return False


async def eventually(what: str, problem: Callable[[], Awaitable[str | None]], seconds: float = 60.0) -> None:
    """Waits until there is no problem any more. Fails with the last problem."""
    last: str | None = None
    for _ in range(int(seconds / 0.25)):
        try:
            last = await problem()
        except RecstreamError as error:
            last = str(error)
        if last is None:
            return
        await asyncio.sleep(0.25)
    pytest.fail(f"{what}: {last}")


@dataclass
class Events:
    """Sends events directly to Kafka, like a backend, and remembers the acknowledged ones.

    A send that fails is repeated with the same event id, so the log may have an event more than once.
    """

    producer: AIOKafkaProducer
    topic: str
    acknowledged: dict[str, dict[str, Interaction]] = field(default_factory=dict)
    sequence: int = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, stack: Stack) -> "AsyncIterator[Events]":
        kafka = stack.settings.kafka
        topic = Topics(kafka.topic_prefix).interactions
        producer = await start_producer(kafka)
        try:
            yield cls(producer, topic)
        finally:
            await producer.stop()

    def new(self, user: str, item_id: str, action: str = "view") -> Interaction:
        self.sequence += 1
        now = int(time.time() * 1000)
        return Interaction(
            event_id=f"event-{self.sequence}",
            user_id=user,
            item_id=item_id,
            action=action,
            event_time=timestamp(now),
        )

    async def send(self, event: Interaction, partition: int | None = None) -> str:
        """Sends an event until Kafka has acknowledged it. Returns its id. The caller sets a time limit."""
        while True:
            try:
                await self.producer.send_and_wait(
                    self.topic,
                    key=event.user_id.encode(),
                    value=event.SerializeToString(),
                    partition=partition,
                )
                break
            except KafkaError:
                await asyncio.sleep(0.2)
        self.acknowledged.setdefault(event.user_id, {})[event.event_id] = event
        return event.event_id


@asynccontextmanager
async def in_background(*work: Coroutine[None, None, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Runs coroutines inside the block. It is an error if one of them ends earlier."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks
        for task in tasks:
            assert not task.done(), f"ended early: {task}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
