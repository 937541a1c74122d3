"""Adopts an interactions topic as the source of truth: a recreated one, or the same one after it lost records."""

from dataclasses import dataclass
from enum import StrEnum

import structlog

from ingest.consuming.groups import interactions_group, statistics_group
from ingest.consuming.offsets import (
    committed,
    offset_ranges,
    out_of_range,
    partitions_of,
    reader,
    rewind_group,
)
from ingest.consuming.topic_check import topic_id_of
from ingest.statistics.reset import reset_statistics
from profiles.profile import Profile
from profiles.store.store import ProfileStore, Write
from topics.settings import KafkaSettings

log = structlog.get_logger()


class Adopt(StrEnum):
    """What becomes of the profiles when the topic was recreated, or part of it is lost."""

    KEEP = "keep"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What `adopt` did.

    Attributes:
        topic_id: The id of the adopted topic, 16 bytes.
        partitions: The partitions that ingest reads again from their first record.
        profiles_deleted: How many profiles were deleted.
    """

    topic_id: bytes
    partitions: tuple[int, ...]
    profiles_deleted: int


async def adopt(kafka: KafkaSettings, store: ProfileStore, choice: Adopt) -> Adopted:
    """Makes the interactions topic, as it is now, the source of truth. Ingest must be stopped.

    KEEP leaves the profiles. A recreated topic is applied on top of them, from its start. If the topic is the same,
    only the partitions whose committed offset is gone are read from their start. Records that Kafka deleted stay
    unapplied. RESET deletes all profiles and item statistics, and ingest reads the whole topic again.

    Args:
        kafka: The cluster.
        store: The profiles.
        choice: Whether the profiles are kept or deleted.

    Raises:
        GroupActive: Ingest is running.
        TopicsMissing: There is no such topic.
        KafkaUnreachable, KafkaError, StoreUnavailable: A server fails.
    """
    name = kafka.topics.interactions
    found = await topic_id_of(kafka, name)
    remembered = (await store.remembered_topics()).get(name)
    recreated = remembered != found
    chosen: dict[str, list[int] | None] = {}
    for group in (interactions_group(kafka), statistics_group(kafka)):
        chosen[group] = None if recreated or choice is Adopt.RESET else await _lost(kafka, group)
    moved = {group: await rewind_group(kafka, group, name, partitions=some) for group, some in chosen.items()}
    deleted = 0
    if choice is Adopt.RESET:
        deleted = await _delete_profiles(store)
        await reset_statistics(kafka)
    await store.remember_topics({name: found})
    log.info("topic_adopted", choice=choice.value, topic_id=found.hex(), moved=moved, deleted=deleted)
    return Adopted(found, tuple(moved[interactions_group(kafka)]), deleted)


async def _lost(kafka: KafkaSettings, group: str) -> list[int]:
    async with reader(kafka) as consumer:
        partitions = await partitions_of(kafka, kafka.topics.interactions)
        found = await committed(kafka, group, partitions)
        ranges = out_of_range(found, await offset_ranges(consumer, partitions))
    return [partition for partition, *_ in ranges]


async def _delete_profiles(store: ProfileStore) -> int:
    deleted = 0
    batch: list[str] = []
    async for user_id in store.scan():
        batch.append(user_id)
        if len(batch) == 500:
            deleted += await _delete(store, batch)
            batch.clear()
    return deleted + (await _delete(store, batch) if batch else 0)


async def _delete(store: ProfileStore, users: list[str]) -> int:
    """Deletes profiles by writing them with an expiry in the past, so that the deletion is announced like any write."""
    found = [stored for stored in await store.read(users) if stored is not None]
    writes = [
        Write(s.profile.user_id, s.revision, Profile(s.profile.user_id, expires_at_ms=1), delete_tail=True)
        for s in found
    ]
    return sum(await store.write(writes)) if writes else 0
