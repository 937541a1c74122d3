"""What versions leave behind that are not live any more: vectors, files, and models that Triton holds."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from catalog.errors import BadRecord
from catalog.records import parse_vector_key
from configuration.settings import Settings
from inference.repository.repository import load, restrict, sweep, versions
from ingest.consuming.offsets import partitions_of, reader
from ingest.verify.whole_topic import read_to_end
from rollout.paths import discard, kept
from topics.closing import close_client
from topics.producer import start_producer
from topics.settings import KafkaSettings

_IN_FLIGHT = 5_000


@dataclass(slots=True)
class Leftovers:
    """By version: vectors on the topic; versions whose bundle, or whose files in Triton's repository, are there."""

    vectors: Counter[int] = field(default_factory=Counter)
    bundles: list[int] = field(default_factory=list)
    repository: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.vectors or self.bundles or self.repository)

    def __str__(self) -> str:
        parts = [f"{count:,} vectors of version {version}" for version, count in sorted(self.vectors.items())]
        parts += [f"the bundle of version {version}" for version in self.bundles]
        parts += [f"version {version} in Triton's repository" for version in self.repository]
        return ", ".join(parts)


def files_left(settings: Settings, live: Collection[int]) -> Leftovers:
    """What lies in the folders and is not live."""
    there = versions(settings.repository) if settings.repository is not None else []
    return Leftovers(
        bundles=[version for version in kept(settings.bundles) if version not in live],
        repository=[version for version in there if version not in live],
    )


async def clear(
    settings: Settings, live: Collection[int], advance: Callable[[int], None] = lambda count: None
) -> Leftovers:
    """Removes it all; doing it again is harmless. Returns what there was. Raises CommandError, InstallFailed,
    KafkaError, TopicsError."""
    found = files_left(settings, live)
    if settings.repository is not None and live:
        unload = restrict(settings.repository, live)
        if unload or found.repository:
            await load(settings.triton, unload)
        sweep(settings.repository)
    discard(settings.bundles, found.bundles)
    keys = await vector_keys(settings.kafka, live)
    if keys:
        producer = await start_producer(settings.kafka, linger_ms=5)
        try:
            await _tombstones(producer, settings.kafka, keys, advance)
        finally:
            await close_client(producer)
    found.vectors = Counter(parse_vector_key(key)[0] for key in keys)
    return found


async def vector_keys(kafka: KafkaSettings, live: Collection[int]) -> list[bytes]:
    """The keys of all vectors of versions that are not live. Reads the topic once. Raises KafkaError, TopicsError."""
    found: dict[bytes, None] = {}
    async with reader(
        kafka, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        partitions = await partitions_of(kafka, kafka.topics.item_vectors)
        consumer.assign(partitions)
        async for record in read_to_end(consumer, partitions):
            try:
                version, _ = parse_vector_key(record.key or b"")
            except BadRecord:
                continue
            if version in live:
                continue
            if record.value is None:
                found.pop(record.key, None)
            else:
                found[record.key] = None
    return list(found)


async def _tombstones(
    producer: AIOKafkaProducer, kafka: KafkaSettings, keys: list[bytes], advance: Callable[[int], None]
) -> None:
    for start in range(0, len(keys), _IN_FLIGHT):
        part = keys[start : start + _IN_FLIGHT]
        sent = [await producer.send(kafka.topics.item_vectors, None, key=key) for key in part]
        await asyncio.gather(*sent)
        advance(len(sent))
