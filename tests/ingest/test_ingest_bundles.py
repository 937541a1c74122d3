"""Catalogue workers start and end with the live versions."""

import asyncio
import shutil
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from inference.bundle.bundle import read
from inference.version_routing import Live, VersionRouting
from ingest.consuming.groups import catalogue_group
from ingest.consuming.offsets import committed, partitions_of
from ingest.embeddings.worker import CatalogueWorkers, published_bundle
from ingest.errors import BundleMissing
from recstream.v1.item_pb2 import Item
from telemetry.health import Health
from tests.ingest.world import World, until
from topics.ids import topic_ids
from topics.producer import start_producer


def test_a_bundle_other_than_the_published_one_is_refused(bundle: Path, tmp_path: Path) -> None:
    manifest = read(bundle).manifest
    with pytest.raises(BundleMissing, match="version 1"):
        published_bundle(tmp_path, Live(manifest))
    shutil.copytree(bundle, tmp_path / "1")
    assert published_bundle(tmp_path, Live(manifest)).manifest == manifest
    with pytest.raises(BundleMissing, match="not the published one"):
        published_bundle(tmp_path, Live(manifest.model_copy(update={"created": "another day"})))


async def test_a_worker_waits_for_its_bundle_and_ends_with_its_version(
    world: World, bundle: Path, tmp_path: Path
) -> None:
    live = Live(read(bundle).manifest, 5)
    routing = VersionRouting(None, live, 0)
    catalog, health, stop = Catalog(CatalogSettings(), world.kafka), Health(), asyncio.Event()
    reading = asyncio.create_task(catalog.run())
    workers = CatalogueWorkers(
        world.kafka, world.settings, tmp_path, world.model, catalog, health, lambda: routing
    )
    running = asyncio.create_task(workers.run(stop))
    topics = world.kafka.topics
    # Transactions end in a marker that consumers do not get. The worker commits the end nevertheless.
    producer = await start_producer(world.kafka, transactional_id=topics.prefix)
    async with producer.transaction():
        item = Item(item_id="a", title="red shoe")
        await producer.send(topics.items, item.SerializeToString(), key=b"a", partition=0)
    await producer.stop()

    async def says_what_it_lacks() -> bool:
        return any("recstream model publish" in reason for reason in health.not_ready.values())

    await until(says_what_it_lacks)
    shutil.copytree(bundle, tmp_path / "1")

    async def embedded() -> bool:
        return catalog.vector(1, "a") is not None and health.ready

    await until(embedded)
    topic_id = (await topic_ids(world.kafka, [topics.items]))[topics.items]
    partitions = await partitions_of(world.kafka, topics.items)
    group = catalogue_group(world.kafka, 1, 5, topic_id)

    async def through() -> bool:
        found = await committed(world.kafka, group, partitions)
        return {tp.partition: each.offset for tp, each in found.items()} == {0: 2, 1: 0}

    await until(through)
    routing = VersionRouting()
    workers.changed()

    async def gone() -> bool:
        return not workers.running_versions

    await until(gone)
    stop.set()
    await asyncio.wait_for(running, 30)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
