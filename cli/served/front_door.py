"""The running product as a backend knows it: events and items through Kafka, lists from the gRPC server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from cli.input.publish import item_records, publish
from configuration.errors import CommandError
from local.stack import Stack
from profiles.actions import Actions
from recstream.client import Client, NotFound, Tier
from recstream.v1 import interaction_pb2, item_pb2
from server.requests.moment import AS_OF
from topics.closing import close_client
from topics.ids import topic_ids
from topics.names import Topics
from topics.producer import start_producer

SURFACE = "evaluation"
_WAIT_SECONDS = 300.0
_LOOK_SECONDS = 0.005, 0.08
_LINGER_MS = 5
_CALL_SECONDS = 25.0
_TRIES = 4
_IN_FLIGHT = 5_000
_ITEMS_AT_ONCE = 32
_Sending = tuple[interaction_pb2.Interaction, "asyncio.Future[RecordMetadata]"]


class FrontDoor:
    """Tells events and asks for lists, each list with everything that was told before it.

    The list's own user is waited for with the token of his newest event. Of popularity, which has no tokens, it is
    known how many positive events each item must show.
    """

    def __init__(
        self,
        address: str,
        producer: AIOKafkaProducer,
        topics: Topics,
        topic_id: bytes,
        actions: Actions,
    ) -> None:
        self._producer, self._topics, self._topic_id = producer, topics, topic_id
        self._actions = actions
        self._moment_ms = 0
        self._client = Client(address, timeout=_CALL_SECONDS)
        self._as_of = Client(address, timeout=_CALL_SECONDS, metadata=lambda: {AS_OF: str(self._moment_ms)})
        self._newest: dict[str, interaction_pb2.EventToken] = {}
        self._positives: dict[str, int] = {}
        self._uncounted: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def of(cls, stack: Stack) -> "AsyncIterator[FrontDoor]":
        """Of a stack that runs."""
        kafka = stack.settings.kafka
        topics = Topics(kafka.topic_prefix)
        ids = await topic_ids(kafka, [topics.interactions])
        # Events of one turn travel together: what is then counted is one transaction and not several.
        producer = await start_producer(kafka, linger_ms=_LINGER_MS)
        actions = Actions(stack.settings.profiles.actions)
        door = cls(stack.address("server"), producer, topics, ids[topics.interactions], actions)
        try:
            yield door
        finally:
            await door._client.close()
            await door._as_of.close()
            await close_client(producer)

    async def put(
        self, items: Iterable[item_pb2.Item], item_ids: Sequence[str], advance: Callable[[int], None]
    ) -> None:
        """Puts items, and waits until the server has a vector of each of the ids. Raises CommandError."""
        await publish(self._producer, self._topics.items, item_records(items), lambda done: None)
        for start in range(0, len(item_ids), _ITEMS_AT_ONCE):
            some = item_ids[start : start + _ITEMS_AT_ONCE]
            until = time.monotonic() + _WAIT_SECONDS
            await asyncio.gather(*(self._wait_embedded(item_id, until) for item_id in some))
            advance(len(some))

    async def tell(
        self,
        events: Iterable[interaction_pb2.Interaction],
        advance: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Sends events in their order, and returns when Kafka has them."""
        waiting: list[_Sending] = []
        for message in events:
            sent = await self._producer.send(
                self._topics.interactions, key=message.user_id.encode(), value=message.SerializeToString()
            )
            waiting.append((message, sent))
            if len(waiting) == _IN_FLIGHT:
                await self._sent(waiting, advance)
        await self._sent(waiting, advance)

    async def ask(self, user_id: str, as_of_ms: int, count: int) -> Sequence[str]:
        """The user's list as of a moment, made by the ranker of everything that was told. Raises CommandError where
        it does not come, RecstreamError."""
        await self._counted()
        after = [self._newest[user_id]] if user_id in self._newest else []
        self._moment_ms = as_of_ms
        said = ""
        for _ in range(_TRIES):
            answer = await self._as_of.recommend(user_id, count=count, after=after, surface=SURFACE)
            if answer.includes_events and (answer.tier is Tier.RANKED or not answer.items):
                return answer.item_ids
            said = f"{answer.tier.name}{'' if answer.includes_events else ', without the newest events'}"
        raise CommandError(
            f"{_TRIES} times the list of user {user_id} was {said}", "something is down or too slow"
        )

    async def _sent(self, waiting: list[_Sending], advance: Callable[[int], None]) -> None:
        for message, sending in waiting:
            record = await sending
            self._newest[message.user_id] = interaction_pb2.EventToken(
                topic_id=self._topic_id, partition=record.partition, offset=record.offset
            )
            value = message.value if message.HasField("value") else None
            if self._actions[message.action].speaks_for(value):
                item_id = message.item_id
                self._positives[item_id] = self._positives.get(item_id, 0) + 1
                self._uncounted.add(item_id)
        advance(len(waiting))
        waiting.clear()

    async def _counted(self) -> None:
        """Until the server's popularity holds what was told."""
        until = time.monotonic() + _WAIT_SECONDS
        pause, most = _LOOK_SECONDS
        for item_id in tuple(self._uncounted):
            while (counted := (await self._client.item(item_id)).popularity) != self._positives[item_id]:
                if time.monotonic() > until:
                    raise CommandError(
                        f"item {item_id} shows {counted} positive events of {self._positives[item_id]}",
                        "look into ingest's log",
                    )
                await asyncio.sleep(pause)
                pause = min(most, 2 * pause)
            self._uncounted.discard(item_id)

    async def _wait_embedded(self, item_id: str, until: float) -> None:
        while not await self._embedded(item_id):
            if time.monotonic() > until:
                raise CommandError(f"item {item_id} has no vector yet", "look into ingest's log")
            await asyncio.sleep(0.2)

    async def _embedded(self, item_id: str) -> bool:
        try:
            return (await self._client.item(item_id)).embedded
        except NotFound:  # not read yet
            return False
