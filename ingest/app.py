"""The ingest process: the only place of this room that builds things."""

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from inference.bundle import Bundle, Manifest, read
from inference.settings import TritonSettings
from inference.triton import TritonModel
from ingest.catalogue_worker import CatalogueWorker
from ingest.errors import SettingsDisagree
from ingest.health import Health
from ingest.health_server import HealthServer
from ingest.interactions_worker import InteractionsWorker
from ingest.settings import IngestSettings
from ingest.states import States
from ingest.statistics_worker import StatisticsWorker
from ingest.supervise import supervise, unless_stopped
from ingest.sweeper import Sweeper
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from profiles.store import ProfileStore
from topics.settings import KafkaSettings

log = structlog.get_logger()


class Role(StrEnum):
    """What a process does; several processes may share a role."""

    INTERACTIONS = "interactions"
    CATALOGUE = "catalogue"
    STATISTICS = "statistics"


ALL_ROLES = frozenset(Role)


@dataclass(frozen=True, slots=True)
class IngestConfiguration:
    """The settings of every room that ingest is made of, and the folder of the model bundle."""

    ingest: IngestSettings
    kafka: KafkaSettings
    store: StoreSettings
    profiles: ProfileSettings
    catalog: CatalogSettings
    triton: TritonSettings
    bundle: Path


async def run(
    configuration: IngestConfiguration,
    roles: Collection[Role] = ALL_ROLES,
    *,
    stop: asyncio.Event | None = None,
    listening: Callable[[int], None] | None = None,
) -> None:
    """Runs the roles until SIGTERM or SIGINT, or until `stop` is set where that is given; then drains: the batch in
    hand is finished and committed. `listening` is told the port of the health endpoint.

    It waits, unready, for whatever is not there yet. Raises BundleRefused, SettingsDisagree, OSError (the port).
    """
    settings = configuration.ingest
    bundle = read(configuration.bundle)
    check_agreement(bundle.manifest, configuration.profiles)
    stop = _stop_on_signals() if stop is None else stop
    health = Health()
    health_server = HealthServer(health, settings.health_host, settings.health_port)
    async with contextlib.AsyncExitStack() as stack:
        await health_server.start()
        stack.push_async_callback(health_server.close)
        if listening is not None:
            listening(health_server.port)
        model = TritonModel(configuration.triton, [bundle.manifest])
        stack.push_async_callback(model.close)
        catalog = Catalog(configuration.catalog, configuration.kafka, _now_ms)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(catalog.run(), name="catalog")
            working = tasks.create_task(
                _work(configuration, bundle, model, catalog, health, roles, stop), name="roles"
            )
            await stop.wait()
            health.down("process", "shutting down")
            await working
            reading.cancel()
    log.info("ingest_stopped")


async def _work(
    configuration: IngestConfiguration,
    bundle: Bundle,
    model: TritonModel,
    catalog: Catalog,
    health: Health,
    roles: Collection[Role],
    stop: asyncio.Event,
) -> None:
    settings = configuration.ingest
    health.down("catalog", "reading its topics")
    if not await unless_stopped(catalog.wait_ready(), stop):
        return
    # What lives as long as the process is not looked through again: full collections cost tens of ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    health.up("catalog")
    async with asyncio.TaskGroup() as tasks:
        if Role.INTERACTIONS in roles:
            tasks.create_task(_interactions(configuration, bundle, model, catalog, health, stop))
        if Role.CATALOGUE in roles:
            embed = CatalogueWorker(configuration.kafka, settings, bundle, model, catalog, health)
            tasks.create_task(supervise(Role.CATALOGUE, embed.run, health, settings, stop))
        if Role.STATISTICS in roles:
            count = StatisticsWorker(configuration.kafka, configuration.profiles, settings, health)
            tasks.create_task(supervise(Role.STATISTICS, count.run, health, settings, stop))


async def _interactions(
    configuration: IngestConfiguration,
    bundle: Bundle,
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
    states = States(model, {bundle.manifest.version: bundle.manifest}, catalog.vector, configuration.profiles)
    sweeper = Sweeper(store, states, settings)
    worker = InteractionsWorker(
        configuration.kafka, store, states, sweeper, configuration.profiles, settings, health
    )
    sweeping = asyncio.create_task(sweeper.run(), name="sweeper")
    try:
        await supervise(Role.INTERACTIONS, worker.run, health, settings, stop)
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await store.close()


async def _connect(
    store_settings: StoreSettings, health: Health, settings: IngestSettings, stop: asyncio.Event
) -> ProfileStore | None:
    """The store once it is there; None if we are to stop before."""
    found: list[ProfileStore] = []

    async def connect(_: asyncio.Event) -> None:
        found.append(await ProfileStore.connect(store_settings))
        health.up("store")

    await supervise("store", connect, health, settings, stop)
    return found[0] if found else None


def check_agreement(manifest: Manifest, profiles: ProfileSettings) -> None:
    """Raises SettingsDisagree where the model was trained for other histories than profiles hold."""
    for name in ("history", "refold_every"):
        trained, held = getattr(manifest, name), getattr(profiles, name)
        if trained != held:
            raise SettingsDisagree(
                f"the bundle was trained with {name}={trained}, the profiles are set to {held}: set profiles.{name} "
                f"to {trained}, or train anew"
            )


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _now_ms() -> int:
    return int(time.time() * 1000)
