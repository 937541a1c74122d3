"""Latency of one event, from just before its send to the announcement of its profile, on one machine.

    bin/bench ingest_event [--events 1000] [--pause-ms 10] [--bundle FOLDER]

Starts Kafka, Valkey and, with a bundle, Triton in a temporary folder. Ingest runs in this process, as the only
consumer. Without a bundle its model answers at once. Prints percentiles and the stages of a batch as JSON.
"""

import argparse
import asyncio
import json
import platform
import tempfile
import time
from pathlib import Path

import uvloop
from prometheus_client import REGISTRY

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from inference.bundle.bundle import read
from inference.model import Floats, Model
from inference.repository.repository import install
from inference.settings import TritonSettings
from inference.triton import TritonModel
from inference.version_routing import VersionRouting
from ingest.consuming.supervise import supervise
from ingest.profiles.states import ModelStates
from ingest.profiles.sweeper import Sweeper
from ingest.profiles.worker import InteractionsWorker
from ingest.settings import IngestSettings
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
from profiles.actions import ProfileSettings
from profiles.announcements.subscriber import Announcement, AnnouncementSubscriber
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore
from recstream.v1.interaction_pb2 import Interaction
from telemetry.background import run_background
from telemetry.health import Health
from tests.ingest.model import ArithmeticModel, manifest_for
from topics.create import create_topics
from topics.producer import start_producer
from topics.settings import KafkaSettings

STAGES = ("read", "fold", "model", "write", "batch")


async def measure(events: int, pause: float, bundle_folder: Path | None, folder: Path) -> dict[str, object]:
    """Sends events of 20 users, one after the other, and measures the latency of each."""
    kafka_server, valkey = (
        EmbeddedKafka(folder / "kafka", free_port()),
        EmbeddedValkey(folder / "v", free_port()),
    )
    for name in ("kafka", "v", "triton"):
        (folder / name).mkdir()
    await asyncio.gather(kafka_server.start(), valkey.start())
    kafka = KafkaSettings(bootstrap=kafka_server.bootstrap)
    profiles = ProfileSettings()
    await create_topics(kafka, profiles.time_to_live_days)
    store_settings = StoreSettings(addresses=(valkey.address,))
    store = await ProfileStore.connect(store_settings)
    subscriber = await AnnouncementSubscriber.connect(store_settings)
    listening = asyncio.create_task(run_background(subscriber.background()))
    model: Model = ArithmeticModel()
    manifest = manifest_for(profiles)
    triton = None
    if bundle_folder is not None:
        bundle = read(bundle_folder)
        manifest = bundle.manifest
        install(bundle, folder / "repository")
        triton = EmbeddedTriton(folder / "repository", folder / "triton", free_port())
        await triton.start()
        model = TritonModel(TritonSettings(address=triton.address), [manifest])
    catalog = Catalog(CatalogSettings(), kafka)
    vector: Floats = __import__("numpy").full(manifest.width, 0.1, "float32")
    for n in range(50):
        catalog.put_vector(manifest.version, f"item-{n}", vector)
    settings, health, stop = IngestSettings(), Health(), asyncio.Event()
    states = ModelStates(model, lambda: VersionRouting.single(manifest), catalog.vector, profiles)
    sweeper = Sweeper(store, states, settings)
    worker = InteractionsWorker(kafka, store, states, sweeper, profiles, settings, health)
    running = asyncio.create_task(supervise("interactions", worker.run, health, settings, stop))
    producer = await start_producer(kafka)
    arrivals: dict[str, asyncio.Future[float]] = {}

    def on_announcement(announcement: Announcement) -> None:
        for event in announcement.applied:
            if (future := arrivals.get(event.event_id)) is not None and not future.done():
                future.set_result(time.perf_counter())

    for user in range(20):
        await subscriber.watch(f"u{user}", on_announcement)
    took: list[float] = []
    for n in range(events + 100):
        event = Interaction(
            event_id=f"e{n}",
            user_id=f"u{n % 20}",
            item_id=f"item-{n % 50}",
            action="click",
        )
        arrivals[event.event_id] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await producer.send(kafka.topics.interactions, event.SerializeToString(), key=event.user_id.encode())
        took.append(await asyncio.wait_for(arrivals[event.event_id], 60) - began)
        await asyncio.sleep(pause)
    took = sorted(took[100:])
    stop.set()
    await running
    await producer.stop()
    listening.cancel()
    await asyncio.wait({listening})
    await subscriber.close()
    await store.close()
    await model.close()
    for server in (kafka_server, valkey, triton):
        if server is not None:
            await server.stop()
    return {
        "machine": f"{platform.processor() or platform.machine()}, {__import__('os').cpu_count()} cores",
        "model": "triton" if bundle_folder else "none",
        "events": len(took),
        "send_to_announcement_ms": {
            f"p{p}": round(took[min(len(took) - 1, len(took) * p // 100)] * 1000, 2) for p in (50, 90, 99)
        },
        "mean_stage_ms": {stage: round(_mean_ms(stage), 3) for stage in STAGES},
    }


def _mean_ms(stage: str) -> float:
    labels = {"stage": stage}
    total = REGISTRY.get_sample_value("recstream_ingest_stage_seconds_sum", labels) or 0.0
    count = REGISTRY.get_sample_value("recstream_ingest_stage_seconds_count", labels) or 1.0
    return total / count * 1000


def main() -> None:
    """Reads the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--pause-ms", type=float, default=10)
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = uvloop.run(measure(options.events, options.pause_ms / 1000, options.bundle, Path(folder)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
