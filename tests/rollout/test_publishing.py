"""Publishing on real Kafka, Valkey and Triton. After any failure the version that was served before is still served."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from catalog.settings import CatalogSettings
from catalog.version_watcher import read_versions
from configuration.settings import Settings
from inference.bundle.bundle import MANIFEST, Manifest, checksum, read
from inference.repository.repository import install, versions
from inference.settings import TritonSettings
from inference.triton import TritonModel
from ingest.app import IngestConfiguration, Role, run
from ingest.settings import IngestSettings
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
from profiles.settings import StoreSettings
from readers.messages import item_records
from recstream.v1.item_pb2 import Item
from rollout.cleanup import vector_keys
from rollout.errors import BundleUnfit, PublisherReplaced, TransitionRefused, VersionNotLoaded
from rollout.publisher import Publisher
from rollout.status import rollout_status
from tests.models.tiny_bundle import build
from topics.create import create_topics
from topics.producer import start_producer
from topics.send_all import send_all
from topics.settings import KafkaSettings

pytestmark = pytest.mark.usefixtures("collected")
ITEMS = tuple(f"item-{number}" for number in range(30))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return tuple(
        build(folder / f"v{version}", ITEMS, width=width, version=version, seed=version)
        for version, width in ((1, 16), (2, 24), (3, 16))
    )


@pytest.fixture(scope="module")
def own_triton(bundles: Sequence[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTriton]:
    folder = tmp_path_factory.mktemp("triton")
    install(read(bundles[0]), folder / "models")
    server = EmbeddedTriton(folder / "models", folder, free_port())
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture
async def settings(
    kafka: EmbeddedKafka,
    valkey: EmbeddedValkey,
    own_triton: EmbeddedTriton,
    bundles: Sequence[Path],
    prefix: str,
    tmp_path: Path,
) -> Settings:
    """An installation with items and version 1."""
    made = Settings(
        kafka=KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=2),
        store=StoreSettings(addresses=(f"{valkey.host}:{valkey.port}",), key_prefix=prefix),
        triton=TritonSettings(address=own_triton.address),
        bundles=tmp_path / "bundles",
        repository=own_triton.repository,
    )
    await create_topics(made.kafka, made.profiles.time_to_live_days)
    producer = await start_producer(made.kafka)
    items = [Item(item_id=item_id, title=f"red shoe {item_id}") for item_id in ITEMS]
    await send_all(producer, made.kafka.topics.items, item_records(items))
    await producer.stop()
    async with publisher(made) as first:
        await first.publish_first(bundles[0])
    return made


@contextlib.asynccontextmanager
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    async with Publisher(settings) as made:
        yield made


@contextlib.asynccontextmanager
async def ingesting(settings: Settings, *roles: Role) -> AsyncIterator[None]:
    configuration = IngestConfiguration(
        IngestSettings(health_port=0),
        settings.kafka,
        settings.store,
        settings.profiles,
        CatalogSettings(),
        settings.triton,
        settings.bundles,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run(configuration, roles or tuple(Role), stop=stop))
    try:
        yield
        assert not task.done()
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def state(settings: Settings) -> tuple[int, int, float]:
    record = await read_versions(settings.kafka)
    return record.base.version, record.next.version, record.share


async def answers(settings: Settings, bundle: Path) -> bool:
    manifest = read(bundle).manifest
    model = TritonModel(settings.triton, [manifest])
    try:
        return await model.ready(manifest.version)
    finally:
        await model.close()


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_a_version_gets_users_only_when_all_items_have_its_vectors(
    settings: Settings, bundles: Sequence[Path]
) -> None:
    async with publisher(settings) as publishing:
        await publishing.prepare(bundles[1], force=False)
        sharing = asyncio.create_task(publishing.set_share(1))
        await asyncio.sleep(2)
        assert not sharing.done()
        assert await state(settings) == (1, 2, 0)
        async with ingesting(settings, Role.CATALOGUE):
            await asyncio.wait_for(sharing, 60)
        assert await state(settings) == (1, 2, 1)
        assert len(await vector_keys(settings.kafka, [1])) == len(ITEMS)
        seen = await rollout_status(settings)
        assert [(row.version, row.share, row.ready, row.bundle_stored) for row in seen.versions] == [
            (1, 0, True, True),
            (2, 1, True, True),
        ]
        await publishing.retire(force=False)
        cleared = await publishing.clean_up()
        assert dict(cleared.vectors) == {1: len(ITEMS)}
    assert await state(settings) == (0, 2, 1)
    assert await vector_keys(settings.kafka, [2]) == []
    assert versions(settings.repository) == [2]
    assert not await answers(settings, bundles[0])
    # A version that was retired comes back like any other. Its vectors are computed again.
    async with ingesting(settings, Role.CATALOGUE), publisher(settings) as publishing:
        await publishing.prepare(bundles[0], force=False)
        await asyncio.wait_for(publishing.set_share(1), 60)
        await publishing.retire(force=False)
        await publishing.clean_up()
    assert len(await vector_keys(settings.kafka, [])) == len(ITEMS)
    assert await answers(settings, bundles[0])


@pytest.mark.timeout(180)
async def test_an_incomplete_bundle_is_refused_by_name(
    settings: Settings, bundles: Sequence[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundles[1], broken)
    (broken / "triton/ranker/2/model.onnx").write_bytes(b"half")
    async with publisher(settings) as publishing:
        with pytest.raises(BundleUnfit, match=r"triton/ranker/2/model\.onnx"):
            await publishing.prepare(broken, force=False)
    assert await state(settings) == (0, 1, 1)
    assert versions(settings.repository) == [1]


@pytest.mark.timeout(180)
async def test_a_version_that_triton_cannot_load_is_removed_again(
    settings: Settings, bundles: Sequence[Path], own_triton: EmbeddedTriton, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundles[1], broken)
    name = "triton/user_fold/2/model.py"
    (broken / name).write_text("raise RuntimeError('no')\n")
    manifest = Manifest.model_validate_json((broken / MANIFEST).read_bytes())
    changed = manifest.model_dump(mode="json") | {"files": {**manifest.files, name: checksum(broken / name)}}
    (broken / MANIFEST).write_text(json.dumps(changed))
    async with publisher(settings) as publishing:
        with pytest.raises(VersionNotLoaded, match="does not serve version 2"):
            await publishing.prepare(broken, force=False)
        assert versions(settings.repository) == [1]
        assert await answers(settings, bundles[0])
        await own_triton.restart()
        assert await answers(settings, bundles[0])
        assert await state(settings) == (0, 1, 1)


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_when_triton_dies_nothing_is_published_and_publishing_again_is_harmless(
    settings: Settings, bundles: Sequence[Path], own_triton: EmbeddedTriton
) -> None:
    own_triton.kill()
    async with publisher(settings) as publishing:
        with pytest.raises(VersionNotLoaded, match="does not serve version 2"):
            await publishing.prepare(bundles[1], force=False)
        assert await state(settings) == (0, 1, 1)
        await own_triton.start()
        await publishing.prepare(bundles[1], force=False)
        await publishing.prepare(bundles[1], force=False)
        assert await state(settings) == (1, 2, 0)
        assert await answers(settings, bundles[0])
        assert await answers(settings, bundles[1])
        await publishing.retire(force=False)
        await publishing.clean_up()


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_leftovers_of_a_dead_publisher_are_named_and_removed(
    settings: Settings, bundles: Sequence[Path]
) -> None:
    async with ingesting(settings, Role.CATALOGUE):
        async with publisher(settings) as publishing:
            await publishing.prepare(bundles[1], force=False)
            # Its vectors are computed, but it gets no users.
            async with asyncio.timeout(60):
                while len(await vector_keys(settings.kafka, [1])) < len(ITEMS):
                    await asyncio.sleep(0.2)
        (settings.bundles / ".incoming-x").mkdir()
        async with publisher(settings) as publishing:
            await publishing.prepare(bundles[2], force=False)
            assert await state(settings) == (1, 3, 0)
            seen = await rollout_status(settings)
            assert seen.leftovers == "the bundle of version 2, version 2 in Triton's repository"
            await asyncio.wait_for(publishing.set_share(1), 60)
            await publishing.clean_up()
            await asyncio.sleep(1)  # The process that worked on version 2 has read the new record.
            await publishing.clean_up()
        assert await vector_keys(settings.kafka, [1, 3]) == []
        assert (await rollout_status(settings)).leftovers == ""
        assert sorted(path.name for path in settings.bundles.iterdir()) == ["1", "3"]
        async with publisher(settings) as publishing:
            await publishing.roll_back()
            await publishing.retire(force=False)
            await publishing.clean_up()


@pytest.mark.timeout(180)
async def test_there_is_one_publisher_at_a_time(settings: Settings, bundles: Sequence[Path]) -> None:
    async with publisher(settings) as first, publisher(settings):
        with pytest.raises(PublisherReplaced, match="taken over"):
            await first.prepare(bundles[1], force=False)
    assert await state(settings) == (0, 1, 1)
    async with publisher(settings) as third:
        await third.clean_up()
        assert versions(settings.repository) == [1]


@pytest.mark.timeout(60)
async def test_without_an_older_version_there_is_no_rollback(settings: Settings) -> None:
    async with publisher(settings) as publishing:
        with pytest.raises(TransitionRefused, match="no older version"):
            await publishing.roll_back()
    assert await state(settings) == (0, 1, 1)
