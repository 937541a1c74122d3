"""A server with real Kafka and Valkey, a small model, and a small ingest that can be stalled."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import numpy as np
from aiokafka import AIOKafkaConsumer

from catalog.records import stats_key
from catalog.version_watcher import KEY
from inference.bundle.bundle import Manifest
from inference.model import (
    Candidates,
    FoldResult,
    Histories,
    ModelUnavailable,
    Ranking,
    States,
    Steps,
    Tokens,
)
from profiles.actions import ProfileSettings
from profiles.folding.events import Position, Record
from profiles.folding.fold import fold
from profiles.interactions import Refusal, parse
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore, Write
from ranking.settings import RankingSettings
from recstream.storage.v1 import catalog_pb2, token_pb2
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from recstream.v1 import (
    catalog_service_pb2_grpc,
    interaction_pb2,
    interaction_service_pb2_grpc,
    item_pb2,
    profile_service_pb2_grpc,
    recommendation_service_pb2_grpc,
)
from server.app import Server
from server.config import ServerConfig
from server.settings import ServerSettings
from server.tokens.positions import decode
from server.tokens.sealing import Kind
from server.tokens.written import WriteTokens
from topics.create import create_topics
from topics.ids import topic_ids
from topics.producer import start_producer
from topics.settings import KafkaSettings

WIDTH = 8
VERSION = 7
MANIFEST = Manifest(
    version=VERSION,
    width=WIDTH,
    state_width=WIDTH,
    actions=("like", "dislike", "click"),
    history=64,
    refold_every=32,
    text_tokens=8,
    popularity_half_lives_days=(14,),
    files={},
)
ITEMS = tuple(f"item-{i}" for i in range(100))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class SmallModel:
    """The user vector is the sum of the vectors in the history. A like is more probable for items nearer to it."""

    def __init__(self) -> None:
        self.down = False
        self.seconds = 0.0

    async def _turn(self) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.down:
            raise ModelUnavailable("down")

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float):
        raise ModelUnavailable("not asked for here")

    async def add_modality(self, version: int, name: str, vectors, contents, *, timeout: float):
        raise ModelUnavailable("not asked for here")

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        raise ModelUnavailable("not asked for here")

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        await self._turn()
        contributions = (histories.item_vectors * histories.mask[..., None]).astype(np.float32)
        vector = contributions.sum(axis=1) + np.float32(0.01)
        return FoldResult(States(vector, vector), contributions)

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        await self._turn()
        near = np.einsum("bmd,bd->bm", candidates.vectors, users.user_vector)
        likes = 1 / (1 + np.exp(-np.tanh(near)))
        probabilities = np.stack([likes, 1 - likes, likes / 2], axis=-1).astype(np.float32)
        return Ranking(probabilities, likes.astype(np.float32))

    async def ready(self, version: int) -> bool:
        return not self.down

    async def close(self) -> None: ...


class SmallIngest:
    """Folds the topic into the store, record by record. While `stalled` is set, it reads nothing."""

    def __init__(self, kafka: KafkaSettings, store: StoreSettings, profiles: ProfileSettings) -> None:
        self._kafka = kafka
        self._settings = store
        self._profiles = profiles
        self.stalled = False
        self.applied = 0

    async def run(self) -> None:
        topic = self._kafka.topics.interactions
        topic_id = (await topic_ids(self._kafka, [topic]))[topic]
        store = await ProfileStore.connect(self._settings)
        consumer = AIOKafkaConsumer(topic, auto_offset_reset="earliest", **self._kafka.client_options())
        try:
            await consumer.start()
            while True:
                if self.stalled:
                    await asyncio.sleep(0.002)
                    continue
                polled = await consumer.getmany(timeout_ms=20)
                for partition, messages in polled.items():
                    for message in messages:
                        while self.stalled:
                            await asyncio.sleep(0.002)
                        position = Position(topic_id, partition.partition, message.offset)
                        record = parse(
                            message.value,
                            message.key,
                            message.headers,
                            position,
                            message.timestamp,
                            self._profiles,
                        )
                        assert not isinstance(record, Refusal), record
                        await self._apply(store, record)
        finally:
            try:
                await consumer.stop()
            finally:
                await store.close()

    async def _apply(self, store: ProfileStore, record: Record) -> None:
        while True:
            try:
                (stored,) = await store.read([record.user_id])
                folded = fold(stored.profile if stored else None, record.user_id, [record], self._profiles)
                write = Write(
                    record.user_id,
                    stored.revision if stored else 0,
                    folded.profile,
                    delete_tail=folded.erased,
                    quiet=folded.quiet,
                    applied=folded.applied,
                )
                if (await store.write([write]))[0]:
                    self.applied += 1
                    return
            except Exception:
                await asyncio.sleep(0.05)


class World:
    """A running server and its clients."""

    def __init__(
        self, server: Server, channel: grpc.aio.Channel, ingest: SmallIngest, model: SmallModel
    ) -> None:
        self.server = server
        self.channel = channel
        self.ingest = ingest
        self.model = model
        self.kafka = server.config.kafka
        self.tokens = WriteTokens(server._sealer, server._writer, self.kafka.topics)
        self.recommendations = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
        self.interactions = interaction_service_pb2_grpc.InteractionServiceStub(channel)
        self.profiles = profile_service_pb2_grpc.ProfileServiceStub(channel)
        self.catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)

    def positions(self, token: str, user_id: str) -> list[Position]:
        """Returns what a token of a user's events, or of items, stands for."""
        _, body = self.server._sealer.open(token, (Kind.EVENTS, Kind.ITEMS), user_id)
        found = decode(token_pb2.Positions.FromString(body))
        return [Position(*where, offset) for where, offset in found.items()]

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"


def event(user_id: str, item_id: str, action: str = "like", **fields) -> interaction_pb2.Interaction:
    """An event; with the action `impression`, an impression of the item."""
    if action == "impression":
        seen = interaction_pb2.SlateImpression(item_ids=[item_id])
        return interaction_pb2.Interaction(user_id=user_id, impression=seen, **fields)
    return interaction_pb2.Interaction(user_id=user_id, item_id=item_id, action=action, **fields)


async def eventually(claim, seconds: float = 20.0):
    """Waits until `claim()` returns something true, and returns it. Fails if it is not true in time."""
    limit = time.monotonic() + seconds
    while True:
        found = claim()
        if asyncio.iscoroutine(found):
            found = await found
        if found or time.monotonic() > limit:
            assert found
            return found
        await asyncio.sleep(0.01)


async def fill_catalogue(kafka: KafkaSettings, items: Sequence[str] = ITEMS) -> None:
    """Items of ten categories, with random but reproducible vectors and falling popularity."""
    random = np.random.default_rng(1)
    hour = now_ms() // 3_600_000
    producer = await start_producer(kafka, linger_ms=20)
    topics = kafka.topics
    manifest = ServedVersion(version=VERSION, manifest=MANIFEST.model_dump_json().encode())
    served = ServedVersions(next=manifest, share=1)
    await producer.send_and_wait(topics.model_versions, served.SerializeToString(), KEY)
    sends = []
    for place, item_id in enumerate(items):
        item = item_pb2.Item(item_id=item_id, title=f"Title of {item_id}", categories=[f"c{place % 10}"])
        vector = random.normal(size=WIDTH).astype("<f4")
        stored = catalog_pb2.ItemVector(vector=vector.tobytes(), content_hash=b"h" * 16)
        count = len(items) - place
        stats = catalog_pb2.ItemStats(positives=count, hours=[catalog_pb2.HourBucket(hour=hour, count=count)])
        key = item_id.encode()
        sends.append(await producer.send(topics.items, item.SerializeToString(), key))
        sends.append(
            await producer.send(
                topics.item_vectors, stored.SerializeToString(), f"{VERSION}/{item_id}".encode()
            )
        )
        sends.append(await producer.send(topics.item_stats, stats.SerializeToString(), stats_key(0, item_id)))
    await asyncio.gather(*sends)
    await producer.stop()


@asynccontextmanager
async def world(
    kafka,
    valkey,
    prefix: str,
    *,
    items: Sequence[str] = ITEMS,
    partitions: int = 2,
    ranking: RankingSettings | None = None,
    **settings,
) -> AsyncIterator[World]:
    """A ready server with its own topics and keys. `settings` are those of the server.

    Client, server and ingest share one event loop here, whose turns are longer than those of a server alone, so more of
    a deadline is reserved for the answer. The right reserve is measured (`bin/bench last_moment`), not tested. As in
    the real server, existing objects are excluded from garbage collections, which would take a third of a second.
    """
    settings.setdefault("answer_reserve_ms", 100)
    kafka_settings = KafkaSettings(
        bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=partitions, request_timeout_ms=5000
    )
    store_settings = StoreSettings(addresses=(f"{valkey.host}:{valkey.port}",), key_prefix=prefix)
    profiles = ProfileSettings()
    await create_topics(kafka_settings, profiles.time_to_live_days)
    await fill_catalogue(kafka_settings, items)
    model = SmallModel()
    config = ServerConfig(
        server=ServerSettings(host="127.0.0.1", port=0, http_port=0, **settings),
        kafka=kafka_settings,
        store=store_settings,
        profiles=profiles,
        ranking=ranking or RankingSettings(),
    )
    server = Server(config, model)
    await server.start()
    ingest = SmallIngest(kafka_settings, store_settings, profiles)
    ingesting = asyncio.create_task(ingest.run())
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)])
    try:
        await eventually(lambda: not server.health.not_ready)
        gc.freeze()
        yield World(server, channel, ingest, model)
    finally:
        gc.unfreeze()
        await channel.close()
        ingesting.cancel()
        await asyncio.wait({ingesting})
        await server.close()
