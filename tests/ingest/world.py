"""A world for tests of ingest: real Kafka and Valkey, and a model of plain arithmetic."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.structs import RecordMetadata

from inference.bundle.bundle import Manifest
from inference.model import Floats
from inference.version_routing import Live, VersionRouting
from ingest.consuming.groups import interactions_group
from ingest.consuming.offsets import committed, partitions_of, reader
from ingest.consuming.read_topic import read_to_end
from ingest.consuming.supervise import supervise
from ingest.profiles.states import ModelStates
from ingest.profiles.sweeper import Sweeper
from ingest.profiles.worker import InteractionsWorker
from ingest.settings import IngestSettings
from ingest.verify.log_fold import fold_log
from ingest.verify.verify import Report, verify
from local.servers.kafka import EmbeddedKafka
from local.servers.valkey import EmbeddedValkey
from profiles.actions import ProfileSettings
from profiles.interactions import KIND_ERASURE, KIND_HEADER
from profiles.profile import Profile
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore
from profiles.times import timestamp
from recstream.storage.v1 import profile_pb2
from recstream.v1.interaction_pb2 import Interaction
from telemetry.health import Health
from tests.ingest.model import WIDTH, ArithmeticModel, manifest_for
from tests.ingest.worker import Worker
from topics.create import create_topics
from topics.ids import topic_ids
from topics.producer import start_producer
from topics.settings import KafkaSettings

T0 = int(time.time() * 1000)

ManifestOf = Callable[[ProfileSettings], Manifest]


@dataclass
class World:
    kafka: KafkaSettings
    store_settings: StoreSettings
    store: ProfileStore
    producer: AIOKafkaProducer
    profiles: ProfileSettings
    settings: IngestSettings
    model: ArithmeticModel = field(default_factory=ArithmeticModel)
    without_vector: set[str] = field(default_factory=set)
    workers: list[Worker] = field(default_factory=list)
    topic_id: bytes = b""
    pointed: VersionRouting | None = None

    def vector(self, version: int, item_id: str) -> Floats | None:
        if item_id in self.without_vector:
            return None
        digest = hashlib.blake2b(item_id.encode(), digest_size=WIDTH).digest()
        return (np.frombuffer(digest, np.uint8) / 255).astype(np.float32)

    def states(self) -> ModelStates:
        return ModelStates(self.model, self.routing, self.vector, self.profiles)

    def routing(self) -> VersionRouting:
        return self.pointed or VersionRouting.single(manifest_for(self.profiles))

    def point(self, base: int | None, next_one: int, share: float) -> None:
        """Sets the live versions of all workers, as a record on `model-versions` does."""
        live = [Live(manifest_for(self.profiles, v)) if v is not None else None for v in (base, next_one)]
        self.pointed = VersionRouting(live[0], live[1], share)
        for worker in self.workers:
            worker.sweeper.rescan()

    async def start(self, **changes: object) -> Worker:
        settings = self.settings.model_copy(update=changes)
        store = await ProfileStore.connect(self.store_settings)
        states = self.states()
        sweeper = Sweeper(store, states, settings)
        health = Health()
        stop = asyncio.Event()
        work = InteractionsWorker(self.kafka, store, states, sweeper, self.profiles, settings, health)
        worker = Worker(
            health,
            stop,
            asyncio.create_task(supervise("interactions", work.run, health, settings, stop)),
            asyncio.create_task(sweeper.run()),
            store,
            sweeper,
        )
        self.workers.append(worker)
        return worker

    async def send(
        self,
        user: str,
        item: str = "item",
        *,
        action: str = "click",
        at: int = T0,
        event_id: str = "",
        undo: str = "",
        value: float | None = None,
        partition: int | None = None,
    ) -> RecordMetadata:
        event = Interaction(event_id=event_id, user_id=user, event_time=timestamp(at), value=value)
        if undo:
            event.undo.event_id = undo
        elif action == "impression":
            event.impression.item_ids.append(item)
        else:
            event.item_id, event.action = item, action
        return await self.send_raw(event.SerializeToString(), key=user.encode(), partition=partition)

    async def send_raw(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> RecordMetadata:
        return await self.producer.send_and_wait(
            self.kafka.topics.interactions, value, key=key, partition=partition, headers=list(headers)
        )

    async def send_many(self, events: Iterable[Interaction], partition: Callable[[int], int]) -> None:
        sent = [
            await self.producer.send(
                self.kafka.topics.interactions,
                event.SerializeToString(),
                key=event.user_id.encode(),
                partition=partition(place),
            )
            for place, event in enumerate(events)
        ]
        await asyncio.gather(*sent)

    async def erase(self, user: str) -> None:
        ends = await self.ends()
        erasure = profile_pb2.Erasure(
            user_id=user,
            end_offsets=[
                profile_pb2.TopicOffset(topic_id=self.topic_id, partition=p, offset=o)
                for p, o in ends.items()
            ],
        )
        await self.producer.send_and_wait(
            self.kafka.topics.interactions,
            erasure.SerializeToString(),
            key=user.encode(),
            headers=[(KIND_HEADER, KIND_ERASURE)],
        )

    async def ends(self) -> dict[int, int]:
        async with reader(self.kafka) as consumer:
            partitions = await partitions_of(self.kafka, self.kafka.topics.interactions)
            return {tp.partition: end for tp, end in (await consumer.end_offsets(partitions)).items()}

    async def lag(self) -> int:
        ends = await self.ends()
        partitions = [TopicPartition(self.kafka.topics.interactions, p) for p in ends]
        found = await committed(self.kafka, interactions_group(self.kafka), partitions)
        return sum(ends[tp.partition] - (found[tp].offset if tp in found else 0) for tp in partitions)

    async def caught_up(self, seconds: float = 60) -> None:
        """Waits until every record is applied and committed."""
        await until(self._no_lag, seconds)

    async def _no_lag(self) -> bool:
        return await self.lag() == 0

    async def profile(self, user: str) -> Profile | None:
        stored = (await self.store.read([user]))[0]
        return None if stored is None else stored.profile

    async def history(self, user: str) -> list[str]:
        profile = await self.profile(user)
        return [] if profile is None else [entry.item_id for entry in profile.history]

    async def clicks(self, user: str) -> int:
        profile = await self.profile(user)
        return 0 if profile is None else profile.totals.get("click", 0)

    async def verified(self, **options: object) -> Report:
        options = {"mappings": self.settings.mappings, **options}
        return await verify(self.kafka, self.store, self.profiles, self.states(), **options)  # type: ignore[arg-type]

    async def log_profiles(self) -> dict[str, Profile]:
        return (await fold_log(self.kafka, self.profiles, self.topic_id)).profiles

    async def records(self, topic: str) -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(**self.kafka.client_options(), isolation_level="read_committed")
        await consumer.start()
        try:
            partitions = await partitions_of(self.kafka, topic)
            consumer.assign(partitions)
            return [record async for record in read_to_end(consumer, partitions)]
        finally:
            await consumer.stop()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Waits for a condition, so that tests need no sleep. Fails after so many seconds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def get(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def make_world(kafka: EmbeddedKafka, valkey: EmbeddedValkey, prefix: str) -> AsyncIterator[MakeWorld]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            *,
            partitions: int = 2,
            profiles: ProfileSettings | None = None,
            store_address: str | None = None,
            bootstrap: str | None = None,
            **settings: object,
        ) -> World:
            kafka_settings = KafkaSettings(
                bootstrap=bootstrap or kafka.bootstrap,
                topic_prefix=prefix,
                partitions=partitions,
                request_timeout_ms=10_000,
            )
            profile_settings = profiles or ProfileSettings(history=8, refold_every=4)
            await create_topics(kafka_settings, profile_settings.time_to_live_days)
            store_settings = StoreSettings(
                addresses=(store_address or f"{valkey.host}:{valkey.port}",), key_prefix=prefix
            )
            store = await ProfileStore.connect(store_settings)
            stack.push_async_callback(store.close)
            producer = await start_producer(kafka_settings)
            stack.push_async_callback(producer.stop)
            options = {
                "session_timeout_ms": 6_000,
                "backoff_max_ms": 500,
                "topic_check_seconds": 1,
                **settings,
            }
            world = World(
                kafka_settings,
                store_settings,
                store,
                producer,
                profile_settings,
                IngestSettings.model_validate(options),
            )
            name = kafka_settings.topics.interactions
            world.topic_id = (await topic_ids(kafka_settings, [name]))[name]
            stack.push_async_callback(_end, world)
            return world

        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    return await make_world()


async def _end(world: World) -> None:
    for worker in world.workers:
        if not worker.task.done():
            await worker.kill()
