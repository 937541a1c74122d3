"""How long `Rank` takes for a thousand items, beside the ranker's own call for the same candidates.

    bin/bench rank [--items 1000] [--calls 300] [--bundle FOLDER]

Starts the whole system in a temporary folder and gives one user a history. Then it makes two calls in turn: `Rank` from
a client in this process, and the ranker on Triton with as many candidates of the same width, which is the floor of such
a call. Without a bundle, the model is an untrained one of the default shape. Prints one line of JSON: milliseconds at
the median and the 99th percentile, the mean milliseconds of each stage in the server, and the bytes of an answer.
"""

import argparse
import asyncio
import json
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  # before usearch, as in evaluation/methods
import uvloop

from catalog.items.items import decode
from catalog.records import vector_key
from configuration.settings import load_settings
from inference.bundle.bundle import Bundle, Manifest, read
from inference.model import Candidates, Floats, States
from inference.triton import TritonModel
from local.service import http_get
from local.stack import Stack
from models.training.settings import TrainSettings
from readers.messages import item_records
from recstream.client import Client, RecstreamError
from recstream.storage.v1.catalog_pb2 import ItemVector
from recstream.v1.item_pb2 import Item
from tests.models.tiny_bundle import build
from topics.names import Topics
from topics.producer import start_producer
from topics.send_all import send_all

USER = "ann"
EVENTS = 20
WARM_UP = 20


async def fill(stack: Stack, client: Client, items: list[Item], vectors: Floats, manifest: Manifest) -> None:
    """Sends items whose vectors exist already, and waits until the server has them all."""
    topics = Topics(stack.settings.kafka.topic_prefix)
    producer = await start_producer(stack.settings.kafka)
    try:
        records = [
            (
                vector_key(manifest.version, item.item_id),
                ItemVector(
                    vector=vector.astype("<f4").tobytes(),
                    content_hash=decode(key, value).embedded_hash(manifest.text_attributes),
                ).SerializeToString(),
            )
            for item, vector, (key, value) in zip(items, vectors, item_records(items), strict=True)
        ]
        await send_all(producer, topics.item_vectors, records)
        await asyncio.sleep(2.0)  # the catalogue worker must have read them before it sees the items
        await send_all(producer, topics.items, item_records(items))
    finally:
        await producer.stop()
    async with asyncio.timeout(60):
        for item in items:
            await embedded(client, item.item_id)


async def embedded(client: Client, item_id: str) -> None:
    while True:
        with suppress(RecstreamError):  # The server has not read the item yet.
            if (await client.item(item_id)).embedded:
                return
        await asyncio.sleep(0.05)


async def stages(port: int) -> dict[str, tuple[float, float]]:
    """Seconds and number of batches by stage, from the server's metrics."""
    _, text = await http_get("127.0.0.1", port, "/metrics")
    found = {
        kind: dict(re.findall(rf'recstream_ranking_stage_seconds_{kind}{{stage="(\w+)"}} (\S+)', text))
        for kind in ("sum", "count")
    }
    return {stage: (float(found["sum"][stage]), float(found["count"][stage])) for stage in found["sum"]}


def percentiles(seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(seconds[WARM_UP:], (50, 99)) * 1000
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


async def run(asked: argparse.Namespace, bundle: Bundle, folder: Path) -> dict[str, Any]:
    manifest, rng = bundle.manifest, np.random.default_rng(0)
    items = [Item(item_id=f"item-{n:05}", title=f"Title of {n}") for n in range(asked.items)]
    vectors = rng.standard_normal((len(items), manifest.width), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    settings = load_settings().model_copy(update={"bundle": bundle.folder})
    took: dict[str, list[float]] = {"rank": [], "ranker alone": []}
    tiers: dict[str, int] = {}
    size = 0
    async with Stack(settings, folder / "stack") as stack, Client(stack.address("server")) as client:
        await fill(stack, client, items, vectors, manifest)
        tokens = [await client.record(USER, item.item_id, "view") for item in items[:EVENTS]]
        triton = TritonModel(stack.settings.triton, [manifest])
        half_lives = len(manifest.popularity_half_lives_days)
        candidates = Candidates(
            vectors[None],
            np.full((1, len(items)), -1, np.float32),
            np.zeros((1, len(items), half_lives), np.float32),
            np.array([60], np.float32),
        )
        states = States(
            rng.standard_normal((1, manifest.state_width), np.float32),
            rng.standard_normal((1, manifest.width), np.float32),
        )
        port = stack.parts["server"].health_port  # type: ignore[attr-defined]  # the server's part has one
        try:
            await client.rank(USER, ["item-00000"], after=tokens)
            before: dict[str, tuple[float, float]] = {}
            for number in range(asked.calls + WARM_UP):
                if number == WARM_UP:
                    before = await stages(port)
                item_ids = [items[at].item_id for at in rng.permutation(len(items)).tolist()]
                began = time.perf_counter()
                answer = await client.rank(USER, item_ids)
                middle = time.perf_counter()
                await triton.rank(manifest.version, states, candidates, timeout=5)
                took["rank"].append(middle - began)
                took["ranker alone"].append(time.perf_counter() - middle)
                tiers[answer.tier.name.lower()] = tiers.get(answer.tier.name.lower(), 0) + 1
                size = sum(item.ByteSize() for item in answer)
            after = await stages(port)
        finally:
            await triton.close()
    mean = {
        stage: round(1000 * (seconds - before[stage][0]) / (count - before[stage][1]), 2)
        for stage, (seconds, count) in after.items()
    }
    return {
        "items": len(items),
        **{f"{what}, ms": percentiles(seconds) for what, seconds in took.items()},
        "stages, ms": mean,
        "answer_bytes": size,
        "tiers": tiers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--bundle", type=Path, help="default: an untrained model of the default shape")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        default = TrainSettings()
        bundle = asked.bundle or build(
            folder / "bundle", width=default.width, channels=default.channels, hidden=default.hidden
        )
        print(json.dumps(uvloop.run(run(asked, read(bundle), folder))))


if __name__ == "__main__":
    main()
