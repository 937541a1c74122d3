"""The whole process on real Kafka, Valkey and Triton."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from catalog.settings import CatalogSettings
from catalog.version_watcher import KEY
from inference.bundle.bundle import MANIFEST, read
from inference.settings import TritonSettings
from inference.triton import TritonModel
from inference.version_routing import VersionRouting
from ingest.app import IngestConfiguration, run
from ingest.errors import BundleIncompatible
from ingest.profiles.bundle_check import check_compatible
from ingest.profiles.states import ModelStates
from ingest.settings import IngestSettings
from ingest.verify.verify import verify
from local.servers.triton import EmbeddedTriton
from profiles.actions import ProfileSettings
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from recstream.v1.item_pb2 import Item
from tests.ingest.world import T0, MakeWorld, World, get, until


@pytest.fixture
async def live(
    make_world: MakeWorld, bundle: Path, triton: EmbeddedTriton, tmp_path: Path
) -> tuple[World, IngestConfiguration]:
    world = await make_world(profiles=ProfileSettings())
    manifest = read(bundle).manifest
    shutil.copytree(bundle, tmp_path / str(manifest.version))
    served = ServedVersion(
        version=manifest.version, manifest=(bundle / MANIFEST).read_bytes(), published_at_ms=1
    )
    await world.producer.send_and_wait(
        world.kafka.topics.model_versions, ServedVersions(next=served, share=1).SerializeToString(), KEY
    )
    configuration = IngestConfiguration(
        IngestSettings.model_validate({**world.settings.model_dump(), "health_port": 0}),
        world.kafka,
        world.store_settings,
        world.profiles,
        CatalogSettings(),
        TritonSettings(address=triton.address),
        tmp_path,
    )
    return world, configuration


async def test_items_events_and_counts_pass_through_the_whole_process(
    live: tuple[World, IngestConfiguration],
) -> None:
    world, configuration = live
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(configuration, stop=stop, listening=listening.set_result))
    port = await asyncio.wait_for(listening, 30)

    async def ready() -> bool:
        return (await get(port, b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 200

    await until(ready)
    for n in range(5):
        item = Item(item_id=f"item-{n}", title=f"red shoe {n}")
        await world.producer.send_and_wait(
            world.kafka.topics.items, item.SerializeToString(), key=item.item_id.encode()
        )
    for n in range(100):
        await world.send("ann", f"item-{n % 5}", at=T0 + n * 1000)
    await world.caught_up()

    manifest = next(read(folder).manifest for folder in configuration.bundles.iterdir())
    version = manifest.version

    async def fresh() -> bool:
        profile = await world.profile("ann")
        state = profile.state(version) if profile is not None else None
        return state is not None and not state.stale

    await until(fresh)
    assert await world.clicks("ann") == 100

    async def counted() -> bool:
        return len(await world.records(world.kafka.topics.item_stats)) >= 5

    await until(counted)
    model = TritonModel(configuration.triton, [manifest])
    vectors = {
        record.key.decode().split("/", 1)[1]: record
        for record in await world.records(world.kafka.topics.item_vectors)
    }
    assert sorted(vectors) == [f"item-{n}" for n in range(5)]
    from catalog.catalog import Catalog

    catalog = Catalog(configuration.catalog, world.kafka)
    reading = asyncio.create_task(catalog.run())
    await asyncio.wait_for(catalog.wait_ready(), 30)
    states = ModelStates(model, lambda: VersionRouting.single(manifest), catalog.vector, world.profiles)
    report = await verify(world.kafka, world.store, world.profiles, states)
    assert report.equal, report.differences
    assert report.states_compared == 1
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await model.close()

    status, body = await get(port, b"GET /readyz HTTP/1.1\r\n\r\n")
    assert (status, json.loads(body)["not_ready"]) == (200, {})
    stop.set()
    await asyncio.wait_for(running, 30)


def test_settings_that_contradict_the_bundle_are_refused(bundle: Path) -> None:
    with pytest.raises(BundleIncompatible, match="history=64"):
        check_compatible(read(bundle).manifest, ProfileSettings(history=8))
