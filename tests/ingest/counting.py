"""Runs the statistics worker, and reads its counts like the catalogue."""

import asyncio
from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from ingest.consuming.groups import statistics_group
from ingest.consuming.offsets import committed, partitions_of
from ingest.consuming.supervise import supervise
from ingest.statistics.worker import StatisticsWorker
from telemetry.health import Health
from tests.ingest.world import World, until


@dataclass
class Running:
    task: asyncio.Task[None]
    stop_event: asyncio.Event

    async def stop(self) -> None:
        self.stop_event.set()
        await asyncio.wait_for(self.task, 30)

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def start_counting(world: World) -> Running:
    health, stop = Health(), asyncio.Event()
    worker = StatisticsWorker(world.kafka, world.profiles, world.settings, health)
    return Running(
        asyncio.create_task(supervise("statistics", worker.run, health, world.settings, stop)), stop
    )


async def all_counted(world: World) -> None:
    async def counted() -> bool:
        ends = await world.ends()
        partitions = await partitions_of(world.kafka, world.kafka.topics.interactions)
        found = await committed(world.kafka, statistics_group(world.kafka), partitions)
        return all(ends[tp.partition] == (found[tp].offset if tp in found else 0) for tp in partitions)

    await until(counted)


async def read_catalogue(world: World) -> Catalog:
    """Reads the current counts like the catalogue."""
    catalog = Catalog(CatalogSettings(), world.kafka)
    reading = asyncio.create_task(catalog.run())
    await asyncio.wait_for(catalog.wait_ready(), 30)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return catalog


async def positives(world: World) -> dict[str, int]:
    """Returns positive events by item, as the catalogue reads them."""
    catalog = await read_catalogue(world)
    return {catalog.item_id(row): int(catalog.positives[row]) for row in range(catalog.size)}
