"""The workers that turn items into vectors, one for each live model version."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from catalog.catalog import Catalog
from inference.bundle.bundle import Bundle, read
from inference.errors import BundleRefused
from inference.model import Model
from inference.version_routing import Live, VersionRouting
from ingest.consuming.dead_letters import DeadLetters
from ingest.consuming.groups import catalogue_group
from ingest.consuming.loop import ConsumerLoop, Subscription
from ingest.consuming.supervise import supervise
from ingest.consuming.topic_check import check_topics_usable
from ingest.embeddings.embedding import Embedding
from ingest.embeddings.handler import ItemsHandler
from ingest.errors import BundleMissing
from ingest.settings import IngestSettings
from telemetry.health import Health
from topics.closing import close_client
from topics.ids import topic_ids
from topics.producer import start_producer
from topics.settings import KafkaSettings

COMPONENT = "catalogue"


class CatalogueWorker:
    """Turns items into vectors of the bundle's version, as one member of the group of this publication.

    Args:
        kafka: The cluster.
        settings: The settings of ingest.
        bundle: The model version's bundle.
        model: Embeds the items.
        catalog: Holds the vectors that exist.
        health: Shows the worker's state.
        published_at_ms: When the version was published, Unix milliseconds. If a version is published again, its worker
            starts again at the first item.
        component: The worker's name in `health`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: IngestSettings,
        bundle: Bundle,
        model: Model,
        catalog: Catalog,
        health: Health,
        *,
        published_at_ms: int = 0,
        component: str = COMPONENT,
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._bundle = bundle
        self._model = model
        self._catalog = catalog
        self._health = health
        self._published_at_ms = published_at_ms
        self._component = component

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises Halted, KafkaError, KafkaUnreachable. A new run continues from there."""
        topics = self._kafka.topics
        # Item topics have no time to live.
        await check_topics_usable(self._kafka, 0, [topics.items, topics.item_vectors])
        topic_id = (await topic_ids(self._kafka, [topics.items]))[topics.items]
        version = self._bundle.manifest.version
        producer = await start_producer(self._kafka)
        try:
            handler = ItemsHandler(
                topics=topics,
                embedding=Embedding(self._model, self._bundle, self._settings.embed_timeout_ms / 1000),
                version=version,
                catalog=self._catalog,
                producer=producer,
                dead_letters=DeadLetters(
                    producer,
                    topics.items_dead_letter,
                    "items",
                    self._settings.dead_letters_in_a_row,
                    time.monotonic,
                ),
                topic_id=topic_id,
                on_started=partial(self._health.up, self._component),
            )
            subscription = Subscription(
                group=catalogue_group(self._kafka, version, self._published_at_ms, topic_id),
                topics=(topics.items,),
                start="earliest",  # Embedding twice does no harm.
                max_records=self._settings.embed_batch,
            )
            await ConsumerLoop(self._kafka, subscription, handler, self._settings).run(stop)
        finally:
            await close_client(producer)


class CatalogueWorkers:
    """Starts a worker for each live version, and stops the workers of other versions.

    Args:
        kafka: The cluster.
        settings: The settings of ingest.
        bundles: The folder of the bundles, one a version.
        model: Embeds the items.
        catalog: Holds the vectors that exist.
        health: Shows the state of the workers.
        routing: The live versions.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: IngestSettings,
        bundles: Path,
        model: Model,
        catalog: Catalog,
        health: Health,
        routing: Callable[[], VersionRouting],
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._bundles = bundles
        self._model = model
        self._catalog = catalog
        self._health = health
        self._routing = routing
        self._wake = asyncio.Event()
        self._running: dict[tuple[int, int], tuple[asyncio.Task[None], asyncio.Event]] = {}

    @property
    def running_versions(self) -> list[int]:
        """The versions that have a worker, ascending."""
        return sorted(version for version, _ in self._running)

    def changed(self) -> None:
        """Tells the workers that the live versions have changed."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then finishes the current batches."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._follow({live.publishing: live for live in self._routing().live.values()})
                waking = asyncio.create_task(self._wake.wait())
                running = [task for task, _ in self._running.values()]
                await asyncio.wait({waking, stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                for task in running:
                    if task.done():
                        task.result()  # A supervisor does not end by itself.
            await self._follow({})
        finally:
            stopping.cancel()
            tasks = [task for task, _ in self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, wanted: Mapping[tuple[int, int], Live]) -> None:
        gone = {key: worker for key, worker in self._running.items() if key not in wanted}
        for _, ending in gone.values():
            ending.set()
        for (version, published), (task, _) in gone.items():
            await asyncio.wait({task})
            del self._running[version, published]
            if wanted:
                self._health.remove(_component(version))
        for key, live in wanted.items():
            if key not in self._running:
                name, ending = _component(live.version), asyncio.Event()
                work = supervise(
                    name, partial(self._work, live), self._health, self._settings, ending, kind=COMPONENT
                )
                self._running[key] = asyncio.create_task(work, name=name), ending

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
    """Reads the bundle of a live version. Raises BundleMissing if it is not the published one."""
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
