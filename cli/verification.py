"""`verify` with the parts that it needs, opened and closed around it."""

import asyncio

from catalog.catalog import Catalog
from configuration.settings import Settings
from inference.triton import TritonModel
from inference.version_routing import Versions
from ingest.profiles.states import ModelStates
from ingest.verify.verify import Report, verify
from profiles.store.store import ProfileStore

CATALOGUE_SECONDS = 120.0


async def verified(settings: Settings, *, wait: float = 10.0) -> Report:
    """Compares the store with a fold of the topic, states of all versions that are live included. Raises as
    `ingest.verify.verify.verify`, and TimeoutError if the catalogue cannot be read."""
    model = TritonModel(settings.triton, [])
    versions = Versions()
    versions.listen(lambda pointer: model.serve(live.manifest for live in pointer.live.values()))
    store = await ProfileStore.connect(settings.store)
    catalog = Catalog(settings.catalog.unsearched(), settings.kafka)
    catalog.served.listen(versions.update)
    reading = asyncio.create_task(catalog.run())
    try:
        async with asyncio.timeout(CATALOGUE_SECONDS):
            await catalog.wait_ready()
        states = ModelStates(model, versions, catalog.vector, settings.profiles)
        return await verify(settings.kafka, store, settings.profiles, states, wait=wait)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await store.close()
        await model.close()
