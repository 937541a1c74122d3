"""Removes what a retired version leaves behind: item vectors, bundles, and models that Triton has loaded."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError

from catalog.errors import BadRecord
from catalog.records import parse_vector_key
from configuration.settings import Settings
from inference.errors import InstallFailed
from inference.repository.repository import load, restrict, sweep, versions
from ingest.consuming.offsets import partitions_of, reader
from ingest.consuming.read_topic import read_to_end
from rollout.bundle_folder import remove_bundles, stored_versions
from rollout.errors import CleanupIncomplete
from topics.closing import close_client
from topics.producer import start_producer
from topics.send_all import send_all
from topics.settings import KafkaSettings


@dataclass(slots=True)
class Leftovers:
    """What versions that are not live have left behind.

    Attributes:
        vectors: Vectors on the topic, by version.
        bundles: Versions that have a bundle.
        repository: Versions that have files in Triton's repository.
    """

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


def leftover_files(settings: Settings, live: Collection[int]) -> Leftovers:
    """Returns the bundles and repository files of versions that are not live."""
    installed = versions(settings.repository) if settings.repository is not None else []
    return Leftovers(
        bundles=[version for version in stored_versions(settings.bundles) if version not in live],
        repository=[version for version in installed if version not in live],
    )


async def clean_up(
    settings: Settings, live: Collection[int], advance: Callable[[int], None] = lambda count: None
) -> Leftovers:
    """Removes what versions that are not live have left behind. It may run any number of times.

    Args:
        settings: The folders and the servers' addresses.
        live: The versions that stay.
        advance: Called with the number of vectors removed since the last call.

    Returns:
        What was removed.

    Raises:
        CleanupIncomplete: Some of it could not be removed.
        TopicsError: Kafka does not answer.
    """
    found = leftover_files(settings, live)
    try:
        if settings.repository is not None and live:
            unload = restrict(settings.repository, live)
            if unload or found.repository:
                await load(settings.triton, unload)
            sweep(settings.repository)
        remove_bundles(settings.bundles, found.bundles)
        keys = await vector_keys(settings.kafka, live)
        if keys:
            producer = await start_producer(settings.kafka, linger_ms=5)
            try:
                topic = settings.kafka.topics.item_vectors
                await send_all(producer, topic, ((key, None) for key in keys), advance)
            finally:
                await close_client(producer)
    except (InstallFailed, KafkaError, OSError) as error:
        raise CleanupIncomplete(
            f"some leftovers of retired versions could not be removed: {error}",
            "`recstream model retire` tries again",
        ) from error
    found.vectors = Counter(parse_vector_key(key)[0] for key in keys)
    return found


async def vector_keys(kafka: KafkaSettings, live: Collection[int]) -> list[bytes]:
    """Returns the keys of all vectors of versions that are not live. Reads the whole topic. Raises KafkaError,
    TopicsError."""
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
