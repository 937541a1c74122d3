"""CPU time and memory of each process for events, profiles, items, lists and streams, to size a deployment.

    bin/bench sizing --bundle FOLDER [--items 100000] [--events 40000] [--users 1000] [--streams 1000]

Runs the whole system on this machine, in a temporary folder, and reads the CPU time and resident memory of each process
from the kernel. CPU time says more than throughput here, because all processes share the cores. Prints one line of JSON
at the end.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import uvloop
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from bench.process_costs import PARTS, Used, spent, used
from catalog.items.items import decode
from catalog.records import vector_key
from configuration.settings import load_settings
from inference.bundle.bundle import read
from ingest.consuming.group_lag import wait_caught_up
from ingest.consuming.groups import interactions_group
from local.stack import Stack
from profiles.store.store import ProfileStore
from profiles.times import timestamp
from readers.messages import item_records
from readers.packaged import movielens
from recstream.client import Client
from recstream.storage.v1.catalog_pb2 import ItemVector
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.item_pb2 import Item
from topics.closing import close_client
from topics.names import Topics
from topics.producer import start_producer
from topics.send_all import send_all

LIST_CONCURRENCY = 8
LIST_SECONDS = 15.0
STREAM_SECONDS = 15.0
EVENTS_A_SECOND = 100


class Bench:
    """One run against a stack. `found` has the figures."""

    def __init__(self, stack: Stack, client: Client, producer: AIOKafkaProducer, console: Console) -> None:
        self._stack, self._client, self._producer, self._console = stack, client, producer, console
        self._kafka = stack.settings.kafka
        self._topics = Topics(self._kafka.topic_prefix)
        self._item_ids: list[str] = []
        self.found: dict[str, object] = {}

    async def embedded_items(self) -> None:
        """Sends the films of MovieLens, which the text encoder embeds."""
        films = movielens.items()
        before, began = used(self._stack), time.monotonic()
        await send_all(self._producer, self._topics.items, item_records(films))
        for film in films:
            await self._embedded(film.item_id)
        after = used(self._stack)
        self._item_ids += [film.item_id for film in films]
        self._keep("item embedded", len(films), time.monotonic() - began, spent(before, after, len(films)))

    async def more_items(self, count: int, version: int, width: int) -> None:
        """Sends items whose vectors exist already, as after a restart."""
        rng = np.random.default_rng(0)
        items = [
            Item(item_id=f"made-{n}", title=f"Number {n}", categories=[f"c{n % 20}"]) for n in range(count)
        ]
        vectors = rng.standard_normal((count, width), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

        def records() -> Iterator[tuple[bytes, bytes]]:
            for place, (key, value) in enumerate(item_records(items)):
                digest = decode(key, value).embedded_hash(())
                message = ItemVector(vector=vectors[place].astype("<f4").tobytes(), content_hash=digest)
                yield vector_key(version, items[place].item_id), message.SerializeToString()

        before, began = used(self._stack), time.monotonic()
        await send_all(self._producer, self._topics.item_vectors, records())
        await asyncio.sleep(2.0)  # the catalogue worker must have read them before it sees the items
        await send_all(self._producer, self._topics.items, item_records(items))
        for item in items[-200:]:
            await self._embedded(item.item_id)
        await self._idle()
        after = used(self._stack)
        self._item_ids += [item.item_id for item in items]
        self._keep("item read and indexed", count, time.monotonic() - began, spent(before, after, count))
        self.found["bytes_an_item"] = {
            name: round((after[name].bytes - before[name].bytes) / count) for name in ("server", "ingest")
        }

    async def events(self, count: int, users: int) -> None:
        """Sends a backlog of events, and waits until ingest has applied it."""
        rng = np.random.default_rng(1)
        now = int(time.time() * 1000)

        def records() -> Iterator[tuple[bytes, bytes]]:
            for n in range(count):
                user = f"user-{n % users}"
                item = self._item_ids[int(rng.integers(len(self._item_ids)))]
                event = Interaction(
                    event_id=f"e{n}",
                    user_id=user,
                    item_id=item,
                    action="click",
                    event_time=timestamp(now - count + n),
                )
                yield user.encode(), event.SerializeToString()

        value_bytes = await self._stored_bytes()
        before, began = used(self._stack), time.monotonic()
        await send_all(self._producer, self._topics.interactions, records())
        group = interactions_group(self._kafka)
        await wait_caught_up(self._kafka, group, self._topics.interactions, seconds=600)
        after = used(self._stack)
        self._keep("event folded", count, time.monotonic() - began, spent(before, after, count))
        self.found["events_a_user"] = count // users
        self.found["valkey_bytes_a_user"] = round((await self._stored_bytes() - value_bytes) / users)

    async def lists(self, what: str, users: int) -> None:
        """Requests lists from several clients at once, for a fixed time."""
        until = time.monotonic() + LIST_SECONDS
        took: list[float] = []
        tiers: dict[str, int] = {}

        async def ask(number: int) -> None:
            while (began := time.monotonic()) < until:
                answer = await self._client.recommend(f"user-{(number * 37 + len(took)) % users}", count=20)
                took.append(time.monotonic() - began)
                tier = answer.tier.name.lower()
                tiers[tier] = tiers.get(tier, 0) + 1

        before = used(self._stack)
        await asyncio.gather(*(ask(number) for number in range(LIST_CONCURRENCY)))
        after = used(self._stack)
        self._keep(what, len(took), LIST_SECONDS, spent(before, after, len(took)))
        self.found[f"{what}, ms"] = [round(float(np.percentile(took, p)) * 1000, 1) for p in (50, 99)]
        self.found[f"{what}, tiers"] = tiers

    async def streams(self, count: int, users: int) -> None:
        """Opens streams. Measures them idle, and then with a frame for every event."""
        frames = 0
        opened = [asyncio.Event() for _ in range(count)]

        async def hold(number: int) -> None:
            nonlocal frames
            async for _ in self._client.stream(f"user-{number % users}", count=20):
                frames += 1
                opened[number].set()

        before = used(self._stack)
        held = []
        for number in range(count):
            held.append(asyncio.create_task(hold(number)))
            if number % 50 == 49:
                await asyncio.gather(*(event.wait() for event in opened[: number + 1]))
        await asyncio.gather(*(event.wait() for event in opened))
        await asyncio.sleep(2.0)
        idle = used(self._stack)
        self.found["server_bytes_a_stream"] = round((idle["server"].bytes - before["server"].bytes) / count)
        await asyncio.sleep(STREAM_SECONDS)
        rested = used(self._stack)
        self._keep("second of an idle stream", count * STREAM_SECONDS, STREAM_SECONDS,
                   spent(idle, rested, count * STREAM_SECONDS))  # fmt: skip
        frames, rng = 0, np.random.default_rng(2)
        began = time.monotonic()
        sent = 0
        while (passed := time.monotonic() - began) < STREAM_SECONDS:
            while sent < passed * EVENTS_A_SECOND:
                user = f"user-{int(rng.integers(min(count, users)))}"
                event = Interaction(
                    event_id=f"s{sent}", user_id=user, item_id=self._item_ids[sent % len(self._item_ids)],
                    action="click",
                )  # fmt: skip
                await self._producer.send(
                    self._topics.interactions, event.SerializeToString(), key=user.encode()
                )
                sent += 1
            await asyncio.sleep(0.005)
        await asyncio.sleep(2.0)
        after = used(self._stack)
        base = {name: (rested[name].seconds - idle[name].seconds) / STREAM_SECONDS for name in PARTS}
        rest = {
            name: Used(rested[name].seconds + base[name] * (time.monotonic() - began), rested[name].bytes)
            for name in PARTS
        }
        self._keep("event to frame", max(1, frames), STREAM_SECONDS, spent(rest, after, max(1, frames)))
        self.found["events_to_frames"] = [sent, frames]
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    def table(self) -> Table:
        """Microseconds of CPU by part."""
        table = Table("microseconds of CPU for each", "how many", "seconds", *PARTS)
        for what, row in self.found.items():
            if isinstance(row, dict) and "each_us" in row:
                table.add_row(
                    what,
                    f"{row['count']:,}",
                    f"{row['seconds']:.1f}",
                    *(f"{row['each_us'][p]:,.0f}" for p in PARTS),
                )
        return table

    def _keep(self, what: str, count: float, seconds: float, each: dict[str, float]) -> None:
        self.found[what] = {"count": round(count), "seconds": round(seconds, 2), "each_us": each}
        self._console.print(f"{what}: {count:,.0f} in {seconds:.1f} s", highlight=False)

    async def _idle(self) -> None:
        """Waits until server and ingest are idle, so that the new vectors are merged into the index."""
        async with asyncio.timeout(300):
            while True:
                before = used(self._stack)
                await asyncio.sleep(2.0)
                after = used(self._stack)
                if all(after[name].seconds - before[name].seconds < 0.2 for name in ("server", "ingest")):
                    return

    async def _embedded(self, item_id: str) -> None:
        async with asyncio.timeout(300):
            while True:
                try:
                    if (await self._client.item(item_id)).embedded:
                        return
                except Exception:
                    pass  # the server has not read the item yet
                await asyncio.sleep(0.1)

    async def _stored_bytes(self) -> int:
        """Returns the memory that Valkey uses for its data."""
        store = await ProfileStore.connect(self._stack.settings.store)
        try:
            said = await store._connection.ask("say its size", lambda client: client.info())
        finally:
            await store.close()
        text = said.decode() if isinstance(said, bytes) else str(said)
        return int(text.partition("used_memory:")[2].split()[0])


async def main(asked: argparse.Namespace) -> None:
    """Runs the measurements and prints the table."""
    console = Console(stderr=True, width=120)
    manifest = read(asked.bundle).manifest
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings().model_copy(update={"bundle": asked.bundle})
        stack = Stack(settings, Path(folder), report=lambda part, text: console.print(f"{part:>8}  {text}"))
        async with stack, Client(stack.address("server")) as client:
            producer = await start_producer(stack.settings.kafka, linger_ms=5)
            try:
                bench = Bench(stack, client, producer, console)
                bench.found["at_rest_mib"] = {n: round(u.bytes / 2**20) for n, u in used(stack).items()}
                await bench.embedded_items()
                await bench.events(asked.events, asked.users)
                await bench.lists("list of 1,682 items", asked.users)
                await bench.streams(asked.streams, asked.users)
                await bench.more_items(asked.items, manifest.version, manifest.width)
                await bench.lists(f"list of {asked.items:,} items more", asked.users)
                bench.found["at_the_end_mib"] = {n: round(u.bytes / 2**20) for n, u in used(stack).items()}
            finally:
                await close_client(producer)
    console.print(bench.table())
    print(json.dumps(bench.found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--streams", type=int, default=1_000)
    uvloop.run(main(parser.parse_args()))
