"""A growing catalogue: checks that no list fails and that the index misses no items while items arrive.

    bin/bench growth [--items 1000000] [--times 10] [--server] [--clients 4] [--exact-below 100000]

Without --server, items and vectors are put into a catalogue in this process, in the thread that searches it. The index
is built in the background, as in a server. With --server, they are records on a real Kafka, which a server in this
process reads, while users act and request lists over gRPC. A sample of the searches is compared with a plain scan of
the vectors, which this program holds itself. Vectors are in clusters of a hundred, like those of real items. While
items arrive, one vector in twenty is replaced, and one in a hundred is removed.

Prints one line of JSON for each run: seconds, lists, failures, merges, and the recall of searches that have a graph,
for users (single) and for the items that they liked (several).
Exits with status 1 if a list failed, or if recall is below the promise of `LiveIndex`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import numpy as np
import uvloop
from numpy.typing import NDArray

from catalog.catalog import Catalog
from catalog.in_memory import InMemoryCatalog
from catalog.index.live import LiveIndex
from catalog.items.items import Item
from catalog.records import vector_key
from catalog.settings import CatalogSettings
from catalog.version_watcher import KEY
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.valkey import EmbeddedValkey
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from ranking.settings import RankingSettings
from recstream.storage.v1.catalog_pb2 import ItemVector
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from recstream.v1 import interaction_service_pb2, item_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.interaction_service_pb2_grpc import InteractionServiceStub
from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from server.app import Server
from server.config import ServerConfig
from server.settings import ServerSettings
from telemetry.background import run_background
from tests.server.world import MANIFEST, SmallIngest, SmallModel
from topics.create import create_topics
from topics.producer import start_producer
from topics.settings import KafkaSettings

WIDTH = 64
VERSION = MANIFEST.version
COUNT = 20
RECALL = 0.9
"""The recall that `LiveIndex` promises."""
USERS = 50
# Items between two searches in this process, and the pause between two lists of a client.
ITEMS_A_SEARCH = 500
LIST_PAUSE_SECONDS = 0.05
CLIENTS = 4
"""Clients share the cores with the server: with fewer of them, items arrive faster."""

Floats = NDArray[np.float32]


def clustered(items: int, rng: np.random.Generator) -> Floats:
    """Returns vectors [items, WIDTH] around centres, a hundred per centre on average."""
    centres = rng.standard_normal((max(2, items // 100), WIDTH), np.float32)
    noise = rng.standard_normal((items, WIDTH), np.float32)
    return centres[rng.integers(0, len(centres), items)] + np.float32(0.4) * noise


class Recall:
    """How many of a scan's best rows searches of one kind found."""

    def __init__(self) -> None:
        self.hits = self.wanted = 0

    @property
    def share(self) -> float | None:
        """None: none was compared."""
        return round(self.hits / self.wanted, 4) if self.wanted else None

    @property
    def ok(self) -> bool:
        """Whether it is what the index promises."""
        return self.hits >= RECALL * self.wanted


class Witness:
    """The vectors as they were sent, and counts of what searches found."""

    def __init__(self, items: int, seed: int, sample: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.vectors = clustered(items, self.rng)
        self.searches = self.by_graph = self.compared = self.short = self.merges = 0
        self.single, self.several = Recall(), Recall()
        self._sample = sample
        self._sampling = np.random.default_rng(seed + 1000)
        self._catalog: InMemoryCatalog | None = None
        self._numbers = np.empty(0, np.int64)
        self.held: dict[int, Floats] = {}
        """Vectors that replaced those of `vectors`, by item number."""

    @contextmanager
    def watching(self, catalog: InMemoryCatalog) -> Iterator[None]:
        """Watches the searches of every index in this process."""
        self._catalog = catalog
        search, search_many, install = LiveIndex.search, LiveIndex.search_many, LiveIndex.install

        def single(index: LiveIndex, query: Floats, count: int, mask: NDArray[np.bool_]) -> Any:
            found = search(index, query, count, mask)
            self._searched(index, query, count, mask, found[0], self.single)
            return found

        def several(index: LiveIndex, queries: Floats, counts: Sequence[int], mask: NDArray[np.bool_]) -> Any:
            found = search_many(index, queries, counts, mask)
            self._searched(index, queries[0], counts[0], mask, found[0][0], self.several)
            return found

        def counted(index: LiveIndex, merge: Any, graph: Any) -> None:
            self.merges += 1
            install(index, merge, graph)

        # The methods of the class are replaced, so that every index of the process is watched.
        with patch.multiple(LiveIndex, search=single, search_many=several, install=counted):
            yield

    def found(self) -> dict[str, object]:
        """Returns the figures."""
        return {
            "searches": self.searches,
            "with_a_graph": self.by_graph,
            "compared_with_a_scan": self.compared,
            "recall_single": self.single.share,
            "recall_several": self.several.share,
            "short_answers": self.short,
            "merges": self.merges,
        }

    @property
    def ok(self) -> bool:
        """Whether no answer was short, and recall is what the index promises."""
        return not self.short and self.single.ok and self.several.ok

    def _searched(
        self,
        index: LiveIndex,
        query: Floats,
        count: int,
        mask: NDArray[np.bool_],
        rows: NDArray[np.int64],
        recall: Recall,
    ) -> None:
        self.searches += 1
        if index.in_graph:
            self.by_graph += 1
            # At random: a list searches in a fixed order, of which every n-th search is always the same one.
            if self._sampling.integers(self._sample) == 0:
                self._compare(index, query, count, mask, rows, recall)

    def _compare(
        self,
        index: LiveIndex,
        query: Floats,
        count: int,
        mask: NDArray[np.bool_],
        rows: NDArray[np.int64],
        recall: Recall,
    ) -> None:
        assert self._catalog is not None
        size = min(len(mask), self._catalog.size)
        if size > len(self._numbers):
            new = [
                int(self._catalog.item_id(row).rpartition("-")[2]) for row in range(len(self._numbers), size)
            ]
            self._numbers = np.concatenate([self._numbers, np.array(new, np.int64)])
        allowed = np.flatnonzero(mask[:size] & index.present(size))
        # Computed from the vectors as they were sent, not from those in the index.
        sent = self.vectors[self._numbers[allowed]]
        scores = (sent @ query).astype(np.float64)
        if self.held:
            positions = np.flatnonzero(np.isin(self._numbers[allowed], list(self.held)))
            for position in positions.tolist():
                scores[position] = float(self.held[int(self._numbers[allowed[position]])] @ query)
        count = min(count, len(allowed))
        best = set(allowed[np.argpartition(-scores, count - 1)[:count]].tolist()) if count else set()
        self.compared += 1
        self.short += len(rows) < count
        recall.hits += len(best & set(rows.tolist()))
        recall.wanted += count


async def in_process(items: int, seed: int, settings: CatalogSettings, sample: int = 10) -> Witness:
    """Grows a catalogue in this process, and searches it meanwhile.

    Args:
        items: How many items to put.
        seed: The seed of the vectors and of the changes.
        settings: The settings of the catalogue.
        sample: One in so many searches that have a graph is compared with a scan.

    Returns:
        What the searches found.
    """
    witness = Witness(items, seed, sample)
    nowhere = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}")
    catalog = Catalog(settings, nowhere)
    merging = asyncio.create_task(
        run_background(task for task in catalog.background() if task.name == "catalog-index")
    )
    rng = witness.rng
    try:
        with witness.watching(catalog):
            for number in range(items):
                catalog.put_item(Item(f"item-{number}", categories=(f"c{number % 20}",)))
                catalog.put_vector(VERSION, f"item-{number}", witness.vectors[number])
                if number % 20 == 19:
                    other = int(rng.integers(number))
                    witness.held[other] = clustered(2, rng)[0]
                    catalog.put_vector(VERSION, f"item-{other}", witness.held[other])
                if number % 100 == 99:
                    catalog.remove_vector(VERSION, f"item-{int(rng.integers(number))}")
                if number % ITEMS_A_SEARCH == 0 or number == items - 1:
                    await _search(catalog, number + 1, witness)
                    # A server reads more slowly than this loop puts, so its index keeps up.
                    while not merging.done() and _behind(catalog, settings):
                        await asyncio.sleep(0.02)
                        await _search(catalog, number + 1, witness)
                    if merging.done():
                        await merging
            for _ in range(100):
                await _search(catalog, items, witness)
    finally:
        merging.cancel()
        await asyncio.gather(merging, return_exceptions=True)
    return witness


async def _search(catalog: InMemoryCatalog, number: int, witness: Witness) -> None:
    """Searches for what is near one of the first items, or, half the time, near none: the sum of five of them."""
    query = witness.vectors[witness.rng.integers(0, number, 1 if witness.rng.random() < 0.5 else 5)].sum(
        axis=0
    )
    mask = catalog.eligible(0)
    rows, _ = catalog.search(VERSION, query, 100, mask)
    witness.short += len(rows) < min(100, int(np.count_nonzero(mask & catalog.has_vector(VERSION))))
    await asyncio.sleep(0)


def _behind(catalog: Catalog, settings: CatalogSettings) -> bool:
    (index,) = catalog._vectors
    return index.count > settings.exact_below and index.count - index.in_graph > 0.2 * index.count


class Load:
    """Clients of a server: users who act and request lists."""

    def __init__(self, channel: grpc.aio.Channel, items: int) -> None:
        self._lists = RecommendationServiceStub(channel)
        self._events = InteractionServiceStub(channel)
        self._items = items
        self.arrived = 0
        self.took: list[float] = []
        self.tiers: dict[str, int] = {}
        self.failures: list[str] = []

    async def run(self, client: int) -> None:
        """Runs until it is cancelled."""
        rng = np.random.default_rng(client)
        while True:
            user = f"user-{int(rng.integers(USERS))}"
            if self.arrived > 1000:
                await self._ask(user)
                if rng.random() < 0.2:
                    await self._act(user, f"item-{int(rng.integers(self.arrived))}")
            await asyncio.sleep(LIST_PAUSE_SECONDS)

    async def _ask(self, user: str) -> None:
        began = time.monotonic()
        try:
            answer = await self._lists.Recommend(rpc.RecommendRequest(user_id=user, count=COUNT), timeout=10)
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"{error.code().name}: {error.details()}")
            return
        self.took.append(time.monotonic() - began)
        if len(answer.slate.items) < COUNT:
            self.failures.append(f"a list of {len(answer.slate.items)} items")
        tier = str(answer.slate.tier)
        self.tiers[tier] = self.tiers.get(tier, 0) + 1

    async def _act(self, user: str, item: str) -> None:
        event = Interaction(user_id=user, item_id=item, action="like")
        try:
            await self._events.Record(interaction_service_pb2.RecordRequest(interaction=event), timeout=10)
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"event: {error.code().name}: {error.details()}")


async def with_server(
    bootstrap: str,
    store: str,
    prefix: str,
    items: int,
    seed: int,
    settings: CatalogSettings,
    sample: int = 20,
    clients: int = CLIENTS,
) -> tuple[Witness, Load]:
    """Sends items to a running server while clients request lists.

    Args:
        bootstrap: The address of Kafka.
        store: The address of Valkey.
        prefix: The prefix of topics and keys.
        items: How many items to send.
        seed: The seed of the vectors.
        settings: The settings of the server's catalogue.
        sample: One in so many searches that have a graph is compared with a scan.
        clients: How many clients request lists.

    Returns:
        What the searches found, and what the clients saw.
    """
    kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=1)
    profiles = ProfileSettings()
    config = ServerConfig(
        server=ServerSettings(host="127.0.0.1", port=0, http_port=0),
        kafka=kafka,
        store=StoreSettings(addresses=(store,), key_prefix=prefix),
        profiles=profiles,
        catalog=settings,
        ranking=RankingSettings(),
    )
    await create_topics(kafka, profiles.time_to_live_days)
    witness = Witness(items, seed, sample)
    producer = await start_producer(kafka, linger_ms=20)
    manifest = MANIFEST.model_copy(update={"width": WIDTH, "state_width": WIDTH})
    served = ServedVersion(version=VERSION, manifest=manifest.model_dump_json().encode())
    await producer.send_and_wait(
        kafka.topics.model_versions, ServedVersions(next=served, share=1).SerializeToString(), KEY
    )
    async with _serving(config) as (server, channel):
        load = Load(channel, items)
        ingest = SmallIngest(kafka, config.store, profiles)
        others = [asyncio.create_task(ingest.run())]
        others += [asyncio.create_task(load.run(client)) for client in range(clients)]
        try:
            with witness.watching(server.catalog):
                for number in range(items):
                    await _send(producer, kafka, number, witness.vectors[number])
                    if number % 1000 == 0:
                        load.arrived = server.catalog.item_count
                        while number - server.catalog.item_count > 20_000:  # the server sets the pace
                            await asyncio.sleep(0.05)
                            _still_up(server, others)
                await producer.flush()
                while int(np.count_nonzero(server.catalog.has_vector(VERSION))) < items:
                    await asyncio.sleep(0.2)
                    _still_up(server, others)
                load.arrived = items
                await asyncio.sleep(5)  # clients request lists from the whole catalogue
                _still_up(server, others)
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await producer.stop()
    return witness, load


def _still_up(server: Server, others: list[asyncio.Task[None]]) -> None:
    for task in (server.failed, *others):
        if task.done():
            task.result()


async def _send(producer: Any, kafka: KafkaSettings, number: int, vector: Floats) -> None:
    item = item_pb2.Item(item_id=f"item-{number}", title=f"Number {number}", categories=[f"c{number % 20}"])
    stored = ItemVector(vector=vector.astype("<f4").tobytes(), content_hash=b"h" * 16)
    await producer.send(
        kafka.topics.item_vectors, stored.SerializeToString(), vector_key(VERSION, item.item_id)
    )
    await producer.send(kafka.topics.items, item.SerializeToString(), item.item_id.encode())


@asynccontextmanager
async def _serving(config: ServerConfig) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    server = Server(config, SmallModel())
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
    try:
        async with asyncio.timeout(60):
            await server.catalog.wait_ready()
        yield server, channel
    finally:
        await channel.close()
        await server.close()


async def _main(asked: argparse.Namespace) -> bool:
    ok, settings = True, CatalogSettings(exact_below=asked.exact_below)
    for seed in range(asked.times):
        began, cpu = time.monotonic(), time.process_time()
        if asked.server:
            witness, load = await _with_servers(asked.items, seed, settings, asked.clients)
            seen: dict[str, object] = {
                "lists": len(load.took),
                "failures": len(load.failures),
                "first_failures": load.failures[:5],
                "list_ms_p50_p99": [round(float(np.percentile(load.took, p)) * 1000, 1) for p in (50, 99)],
                "tiers": load.tiers,
            }
            ok &= not load.failures
        else:
            witness, seen = await in_process(asked.items, seed, settings), {}
        ok &= witness.ok
        took = {
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
        print(json.dumps({"items": asked.items, "seed": seed, **took, **seen, **witness.found()}), flush=True)
    return ok


async def _with_servers(
    items: int, seed: int, settings: CatalogSettings, clients: int
) -> tuple[Witness, Load]:
    with tempfile.TemporaryDirectory() as folder:
        kafka = EmbeddedKafka(Path(folder) / "kafka", free_port())
        valkey = EmbeddedValkey(Path(folder) / "valkey", free_port())
        try:
            await kafka.start()
            await valkey.start()
            return await with_server(
                kafka.bootstrap,
                f"{valkey.host}:{valkey.port}",
                "growth-",
                items,
                seed,
                settings,
                clients=clients,
            )
        finally:
            valkey.kill()
            kafka.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--exact-below", type=int, default=CatalogSettings().exact_below)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="with --server: how many request lists")
    parser.add_argument("--server", action="store_true", help="through Kafka and a running server")
    sys.exit(0 if uvloop.run(_main(parser.parse_args())) else 1)
