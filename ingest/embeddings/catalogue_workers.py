"""A catalogue worker for each model version that is live, and none for others."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from catalog.catalog import Catalog
from inference.bundle.bundle import Bundle, read
from inference.errors import BundleRefused
from inference.model import Model
from inference.version_routing import Live, Pointer
from ingest.consuming.supervise import supervise
from ingest.embeddings.catalogue_worker import COMPONENT, CatalogueWorker
from ingest.errors import BundleMissing
from ingest.settings import IngestSettings
from telemetry.health import Health
from topics.settings import KafkaSettings


class CatalogueWorkers:
    """Follows the pointer: `changed` is told of it, `run` starts and stops workers. Bundles are looked for in
    `bundles`, by version."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: IngestSettings,
        bundles: Path,
        model: Model,
        catalog: Catalog,
        health: Health,
        pointer: Callable[[], Pointer],
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._bundles = bundles
        self._model = model
        self._catalog = catalog
        self._health = health
        self._pointer = pointer
        self._wake = asyncio.Event()
        self._at_work: dict[tuple[int, int], tuple[asyncio.Task[None], asyncio.Event]] = {}

    @property
    def at_work(self) -> list[int]:
        """The versions that there are workers for, ascending."""
        return sorted(version for version, _ in self._at_work)

    def changed(self) -> None:
        """The pointer is another."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set: then the batches in hand are finished."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._follow({live.publishing: live for live in self._pointer().live.values()})
                waking = asyncio.create_task(self._wake.wait())
                await asyncio.wait({waking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
            await self._follow({})
        finally:
            stopping.cancel()
            tasks = [task for task, _ in self._at_work.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, wanted: Mapping[tuple[int, int], Live]) -> None:
        gone = {key: at_work for key, at_work in self._at_work.items() if key not in wanted}
        for _, ending in gone.values():
            ending.set()
        for (version, published), (task, _) in gone.items():
            await asyncio.wait({task})
            del self._at_work[version, published]
            if wanted:
                self._health.remove(_component(version))
        for key, live in wanted.items():
            if key not in self._at_work:
                name, ending = _component(live.version), asyncio.Event()
                work = supervise(
                    name, partial(self._work, live), self._health, self._settings, ending, kind=COMPONENT
                )
                self._at_work[key] = asyncio.create_task(work, name=name), ending

    async def _work(self, live: Live, stop: asyncio.Event) -> None:
        bundle = await asyncio.to_thread(published_bundle, self._bundles, live)
        worker = CatalogueWorker(
            self._kafka,
            self._settings,
            bundle,
            self._model,
            self._catalog,
            self._health,
            published_at_ms=live.published_at_ms,
            component=_component(live.version),
        )
        await worker.run(stop)


def published_bundle(bundles: Path, live: Live) -> Bundle:
    """The bundle of a live version, checked. Raises BundleMissing."""
    folder = bundles / str(live.version)
    try:
        bundle = read(folder)
    except (BundleRefused, OSError) as error:
        raise BundleMissing(live.version, folder, error) from error
    if bundle.manifest != live.manifest:
        raise BundleMissing(live.version, folder, "its manifest is not the published one")
    return bundle


def _component(version: int) -> str:
    return f"{COMPONENT} of model {version}"
