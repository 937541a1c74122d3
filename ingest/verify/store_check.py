"""Runs `verify` with clients that it opens and closes."""

import asyncio
from typing import Protocol

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from inference.settings import TritonSettings
from inference.triton import TritonModel
from inference.version_routing import Versions
from ingest.profiles.states import ModelStates
from ingest.settings import IngestSettings
from ingest.verify.verify import Report, verify
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore
from topics.settings import KafkaSettings

CATALOGUE_SECONDS = 120.0


class Installation(Protocol):
    """The part of `configuration.settings.Settings` that `check_store` needs."""

    @property
    def kafka(self) -> KafkaSettings: ...
    @property
    def store(self) -> StoreSettings: ...
    @property
    def profiles(self) -> ProfileSettings: ...
    @property
    def catalog(self) -> CatalogSettings: ...
    @property
    def triton(self) -> TritonSettings: ...
    @property
    def ingest(self) -> IngestSettings: ...


async def check_store(settings: Installation, *, wait: float = 10.0) -> Report:
    """Compares the store with a fold of the whole topic, including the model states of all live versions.

    Args:
        settings: The addresses of the servers, the profile settings, and the mappings.
        wait: Seconds that a running ingest has to catch up.

    Returns:
        What was compared, and the differences.

    Raises:
        StoreUnavailable, TopicsError, KafkaError: A server does not answer.
        TimeoutError: The catalogue was not read within two minutes.
    """
    model = TritonModel(settings.triton, [])
    versions = Versions()
    versions.listen(lambda routing: model.serve(live.manifest for live in routing.live.values()))
    store = await ProfileStore.connect(settings.store)
    catalog = Catalog(settings.catalog.unsearched(), settings.kafka)
    catalog.version_watcher.listen(versions.update)
    reading = asyncio.create_task(catalog.run())
    try:
        async with asyncio.timeout(CATALOGUE_SECONDS):
            await catalog.wait_ready()
        states = ModelStates(model, versions, catalog.vector, settings.profiles)
        mappings = settings.ingest.mappings
        return await verify(settings.kafka, store, settings.profiles, states, wait=wait, mappings=mappings)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await store.close()
        await model.close()
