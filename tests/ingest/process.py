"""An ingest worker in its own process, for tests that stop and kill it. Arguments: bootstrap, topic prefix, store
address, partitions. Its model is arithmetic."""

import asyncio
import signal
import sys

from ingest.settings import IngestSettings
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore
from tests.ingest.model import ArithmeticModel
from tests.ingest.world import World
from topics.producer import start_producer
from topics.settings import KafkaSettings


async def main(bootstrap: str, prefix: str, store_address: str, partitions: str) -> None:
    kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=int(partitions))
    store_settings = StoreSettings(addresses=(store_address,), key_prefix=prefix)
    store = await ProfileStore.connect(store_settings)
    producer = await start_producer(kafka)
    settings = IngestSettings(session_timeout_ms=6_000, backoff_max_ms=500, topic_check_seconds=1)
    profiles = ProfileSettings(history=8, refold_every=4)
    world = World(kafka, store_settings, store, producer, profiles, settings, ArithmeticModel())
    worker = await world.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await worker.stop()
    await producer.stop()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
