"""The catalogue worker with what it needs around it."""

import asyncio
import time

from catalog.catalog import Catalog
from inference.bundle.bundle import Bundle
from inference.model import Model
from ingest.consuming.dead_letters import DeadLetters
from ingest.consuming.groups import catalogue_group
from ingest.consuming.topic_check import check_topics_usable
from ingest.embeddings.catalogue import Catalogue
from ingest.embeddings.embedding import Embedding
from ingest.settings import IngestSettings
from telemetry.health import Health
from topics.closing import close_client
from topics.ids import topic_ids
from topics.producer import start_producer
from topics.settings import KafkaSettings

COMPONENT = "catalogue"


class CatalogueWorker:
    """Turns items into vectors under the bundle's version, as one member of the group of this publishing.

    component: what it is called in `health`.
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
        """Until `stop` is set. Raises Halted, KafkaError, KafkaUnreachable; a new run goes on from there."""
        topics = self._kafka.topics
        # Topics of items are not aged by any time to live.
        await check_topics_usable(self._kafka, 0, [topics.items, topics.item_vectors])
        topic_id = (await topic_ids(self._kafka, [topics.items]))[topics.items]
        version = self._bundle.manifest.version
        producer = await start_producer(self._kafka)
        try:
            worker = Catalogue(
                self._kafka,
                self._settings,
                Embedding(self._model, self._bundle, self._settings.embed_timeout_ms / 1000),
                version,
                catalogue_group(self._kafka, version, self._published_at_ms, topic_id),
                lambda item_id: self._catalog.content_hash(version, item_id),
                producer,
                DeadLetters(
                    producer,
                    topics.items_dead_letter,
                    "items",
                    self._settings.dead_letters_per_minute,
                    time.monotonic,
                ),
                topic_id,
            )
            self._health.up(self._component)
            await worker.run(stop)
        finally:
            await close_client(producer)
