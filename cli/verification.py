"""`verify` with the parts that it needs, opened and closed around it."""

import asyncio

from catalog.catalog import Catalog
from cli.settings import Settings
from inference.bundle import read
from inference.triton import TritonModel
from ingest.states import States
from ingest.verify import Report, verify
from profiles.store import ProfileStore

CATALOGUE_SECONDS = 120.0


async def verified(settings: Settings, *, wait: float = 10.0) -> Report:
    """Compares the store with a fold of the topic, model states included. Raises as `ingest.verify.verify`,
    BundleRefused, and TimeoutError if the catalogue cannot be read."""
    bundle = read(settings.bundle)
    model = TritonModel(settings.triton, [bundle.manifest])
    store = await ProfileStore.connect(settings.store)
    catalog = Catalog(settings.catalog, settings.kafka)
    reading = asyncio.create_task(catalog.run())
    try:
        async with asyncio.timeout(CATALOGUE_SECONDS):
            await catalog.wait_ready()
        states = States(model, {bundle.manifest.version: bundle.manifest}, catalog.vector, settings.profiles)
        return await verify(settings.kafka, store, settings.profiles, states, wait=wait)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await store.close()
        await model.close()
