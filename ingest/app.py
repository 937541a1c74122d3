"""The ingest process: the composition root of the room."""

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

import structlog

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from inference.settings import TritonSettings
from inference.triton import TritonModel
from inference.version_labels import Retiring
from inference.version_routing import VersionRouting, Versions
from ingest import metrics
from ingest.consuming.supervise import supervise, unless_stopped
from ingest.embeddings.worker import CatalogueWorkers
from ingest.errors import BundleIncompatible
from ingest.items.worker import ItemsWorker
from ingest.online_quality.worker import QualityWorker
from ingest.profiles.bundle_check import check_compatible
from ingest.profiles.states import ModelStates
from ingest.profiles.sweeper import Sweeper
from ingest.profiles.worker import InteractionsWorker
from ingest.settings import IngestSettings
from ingest.statistics.worker import StatisticsWorker
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore
from ranking.settings import Surfaces
from ranking.surfaces.in_force import LiveSurfaces, retiring
from telemetry.background import BackgroundTask, OnFailure, TaskFailed, run_background
from telemetry.health import SHUTDOWN, Health
from telemetry.probe_server import ProbeServer
from topics.settings import KafkaSettings

log = structlog.get_logger()


class Role(StrEnum):
    """What a process does. Several processes may share a role."""

    INTERACTIONS = "interactions"
    CATALOGUE = "catalogue"
    STATISTICS = "statistics"
    ITEMS = "items"
    QUALITY = "quality"


ALL_ROLES = frozenset(Role)


@dataclass(frozen=True, slots=True)
class IngestConfiguration:
    """The settings of every room that ingest uses.

    Attributes:
        bundles: The folder of the published bundles, one a version.
        surfaces: The surfaces of the settings. Online quality counts those that are not in force as `other`.
    """

    ingest: IngestSettings
    kafka: KafkaSettings
    store: StoreSettings
    profiles: ProfileSettings
    catalog: CatalogSettings
    triton: TritonSettings
    bundles: Path
    surfaces: Surfaces = field(default_factory=Surfaces)


async def run(
    configuration: IngestConfiguration,
    roles: Collection[Role] = ALL_ROLES,
    *,
    stop: asyncio.Event | None = None,
    listening: Callable[[int], None] | None = None,
) -> None:
    """Runs the roles until it is stopped, then drains: it finishes and commits the current batch.

    It stays unready while servers that it needs are not up yet. It needs no model, since events are applied without
    one. It reads the live model versions from Kafka, and follows their changes.

    Args:
        configuration: The settings.
        roles: What the process does.
        stop: Stops it. None: SIGTERM and SIGINT do.
        listening: Called with the port of the health endpoint.

    Raises:
        OSError: The port of the health endpoint is taken.
        TaskFailed: A background task has failed for good.
    """
    settings = configuration.ingest
    stop = _stop_on_signals() if stop is None else stop
    health = Health(metrics.READY)
    probes = ProbeServer(health, settings.health_host, settings.health_port)
    async with contextlib.AsyncExitStack() as stack:
        await probes.start()
        stack.callback(probes.close)
        if listening is not None:
            listening(probes.port)
        model = TritonModel(configuration.triton, [])
        stack.push_async_callback(model.close)
        versions = Versions()
        surfaces = LiveSurfaces(configuration.surfaces)
        further = {configuration.kafka.topics.surfaces: surfaces.on_record}
        catalog = Catalog(configuration.catalog.unsearched(), configuration.kafka, _now_ms, further)
        catalog.version_watcher.listen(versions.update)
        versions.listen(lambda routing: _serve(routing, model, configuration.profiles, health))
        try:
            await run_background(
                background(configuration, versions, surfaces, model, catalog, health, roles, stop), stop
            )
        except TaskFailed as error:
            health.down(SHUTDOWN, str(error))
            raise
    log.info("ingest_stopped")


def background(
    configuration: IngestConfiguration,
    versions: Versions,
    surfaces: LiveSurfaces,
    model: TritonModel,
    catalog: Catalog,
    health: Health,
    roles: Collection[Role],
    stop: asyncio.Event,
) -> list[BackgroundTask]:
    """Lists the background tasks of the process. Workers start once the catalogue is read, and drain when `stop` is
    set.

    A supervisor restarts its worker after each failure. So an error of a worker's task is a bug in the supervisor, and
    ends the process.
    """
    settings = configuration.ingest
    catalog_read = asyncio.Event()

    def worker(name: str, work: Callable[[], Awaitable[None]]) -> BackgroundTask:
        async def run() -> None:
            if await unless_stopped(catalog_read.wait(), stop):
                await work()

        return BackgroundTask(name, run, OnFailure.FATAL, drains=True)

    async def become_ready() -> None:
        await catalog.wait_ready()
        # Full collections cost tens of ms, so the collector skips objects that live as long as the process.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        health.up("catalog")
        catalog_read.set()

    async def leave() -> None:
        await stop.wait()
        health.shut_down()

    health.down("catalog", "is being read")
    tasks = [
        *catalog.background(),
        BackgroundTask("readiness", become_ready, OnFailure.FATAL),
        BackgroundTask("shutdown", leave, OnFailure.FATAL, drains=True),
    ]
    if Role.INTERACTIONS in roles:
        # The series exists from the start, because an alert fires when it is absent.
        health.down(Role.INTERACTIONS, "waits for the catalogue")
        interactions = partial(_interactions, configuration, versions, model, catalog, health, stop)
        tasks.append(worker("interactions", interactions))
    if Role.CATALOGUE in roles:
        embed = CatalogueWorkers(
            configuration.kafka, settings, configuration.bundles, model, catalog, health, versions
        )
        versions.listen(lambda _: embed.changed())
        tasks.append(worker("catalogue", partial(embed.run, stop)))
    if Role.STATISTICS in roles:
        count = StatisticsWorker(configuration.kafka, configuration.profiles, settings, health)
        tasks.append(
            worker("statistics", partial(supervise, Role.STATISTICS, count.run, health, settings, stop))
        )
    if Role.ITEMS in roles:
        fold = ItemsWorker(configuration.kafka, settings, health)
        tasks.append(worker("items", partial(supervise, Role.ITEMS, fold.run, health, settings, stop)))
    if Role.QUALITY in roles and settings.quality_slates:
        tasks.append(worker("quality", partial(_quality, configuration, versions, surfaces, stop)))
    return tasks


def _serve(routing: VersionRouting, model: TritonModel, profiles: ProfileSettings, health: Health) -> None:
    model.serve(live.manifest for live in routing.live.values())
    shares = {live.version: 0.0 for live in routing.live.values()}
    if routing.next is not None:
        shares[routing.next.version] = routing.share
    if routing.base is not None:
        shares[routing.base.version] = 1 - routing.share
    metrics.MODEL_SHARE.clear()
    for version, share in shares.items():
        metrics.MODEL_SHARE.labels(str(version)).set(share)
    try:
        for live in routing.live.values():
            check_compatible(live.manifest, profiles)
        health.up("model")
    except BundleIncompatible as error:
        log.error("bundle_incompatible", reason=str(error))
        health.down("model", str(error))


async def _quality(
    configuration: IngestConfiguration, versions: Versions, surfaces: LiveSurfaces, stop: asyncio.Event
) -> None:
    versions.listen(
        Retiring(
            [metrics.SENT, metrics.IMPRESSIONS, metrics.RESPONSES, metrics.EXPECTED, metrics.OBSERVED]
        ).follow
    )
    surfaces.listen(retiring([metrics.SENT, metrics.IMPRESSIONS, metrics.RESPONSES]))
    # It has its own health: a process is ready without these figures.
    health = Health(metrics.READY)
    worker = QualityWorker(
        configuration.kafka,
        configuration.profiles,
        configuration.ingest,
        lambda: surfaces().settings,
        versions,
        health,
    )
    await supervise(Role.QUALITY, worker.run, health, configuration.ingest, stop)


async def _interactions(
    configuration: IngestConfiguration,
    versions: Versions,
    model: TritonModel,
    catalog: Catalog,
    health: Health,
    stop: asyncio.Event,
) -> None:
    settings = configuration.ingest
    health.down("store", "connecting")
    store = await _connect(configuration.store, health, settings, stop)
    if store is None:
        return
    states = ModelStates(model, versions, catalog.vector, configuration.profiles)
    sweeper = Sweeper(store, states, settings)
    versions.listen(lambda _: sweeper.rescan())
    worker = InteractionsWorker(
        configuration.kafka, store, states, sweeper, configuration.profiles, settings, health
    )
    work = partial(supervise, Role.INTERACTIONS, worker.run, health, settings, stop)
    try:
        await run_background(
            [
                BackgroundTask("interactions", work, OnFailure.FATAL, drains=True),
                BackgroundTask("sweeper", sweeper.run, OnFailure.RETRY),
            ],
            stop,
        )
    finally:
        await store.close()


async def _connect(
    store_settings: StoreSettings, health: Health, settings: IngestSettings, stop: asyncio.Event
) -> ProfileStore | None:
    """Returns the store once it answers; None if `stop` is set first."""
    found: list[ProfileStore] = []

    async def connect(_: asyncio.Event) -> None:
        found.append(await ProfileStore.connect(store_settings))
        health.up("store")

    await supervise("store", connect, health, settings, stop)
    return found[0] if found else None


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _now_ms() -> int:
    return int(time.time() * 1000)
