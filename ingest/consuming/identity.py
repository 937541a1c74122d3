"""That the topic is the one whose events the profiles hold (KIP-516), and what to do when it is not."""

from dataclasses import dataclass
from enum import StrEnum

import structlog

from ingest.consuming.groups import interactions_group, statistics_group
from ingest.consuming.offsets import (
    check_range,
    committed,
    move,
    offset_ranges,
    out_of_range,
    partitions_of,
    reader,
)
from ingest.consuming.topic_check import topic_id_of
from ingest.errors import StoreEmptied, TopicRecreated
from ingest.statistics.reset import reset_statistics
from profiles.profile import Profile
from profiles.store.store import ProfileStore, Write
from topics.settings import KafkaSettings

log = structlog.get_logger()


async def check_identity(kafka: KafkaSettings, store: ProfileStore) -> bytes:
    """The topic's id, compared with the one that the store remembers, and remembered if it remembers none.

    Looks, without joining the group, whether the committed offsets are there as well. Raises TopicRecreated,
    TopicsMissing, StoreEmptied, OffsetOutOfRange, KafkaUnreachable, KafkaError, StoreUnavailable.
    """
    name = kafka.topics.interactions
    found = await topic_id_of(kafka, name)
    remembered = (await store.remembered_topics()).get(name)
    if remembered is not None and remembered != found:
        raise TopicRecreated(name, remembered, found)
    group = interactions_group(kafka)
    offsets = await check_range(kafka, group, name)
    if remembered is None:
        if any(known.offset > 0 for known in offsets.values()):
            raise StoreEmptied(group)
        await store.remember_topics({name: found})
    return found


class Adopt(StrEnum):
    """What becomes of the profiles when the topic was made anew, or part of it is lost."""

    KEEP = "keep"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was done: partitions that are read from their first record, and profiles that were forgotten."""

    topic_id: bytes
    partitions: tuple[int, ...]
    profiles_deleted: int


async def adopt(kafka: KafkaSettings, store: ProfileStore, choice: Adopt) -> Adopted:
    """Takes the interactions topic as it is now for the truth; ingest must be stopped.

    KEEP: profiles stay. A topic made anew is read from its start, on top of them; of the same topic only the
    partitions whose committed offset is gone are, and what was deleted stays unapplied. RESET: all profiles and
    item statistics are forgotten, and all is read from the start.

    Raises GroupActive, TopicsMissing, KafkaUnreachable, KafkaError, StoreUnavailable.
    """
    name = kafka.topics.interactions
    found = await topic_id_of(kafka, name)
    remembered = (await store.remembered_topics()).get(name)
    anew = remembered != found
    chosen: dict[str, list[int] | None] = {}
    for group in (interactions_group(kafka), statistics_group(kafka)):
        chosen[group] = None if anew or choice is Adopt.RESET else await _lost(kafka, group)
    moved = {group: await move(kafka, group, name, partitions=some) for group, some in chosen.items()}
    forgotten = 0
    if choice is Adopt.RESET:
        forgotten = await _forget_profiles(store)
        await reset_statistics(kafka)
    await store.remember_topics({name: found})
    log.info("topic_adopted", choice=choice.value, topic_id=found.hex(), moved=moved, forgotten=forgotten)
    return Adopted(found, tuple(moved[interactions_group(kafka)]), forgotten)


async def _lost(kafka: KafkaSettings, group: str) -> list[int]:
    async with reader(kafka) as consumer:
        partitions = await partitions_of(kafka, kafka.topics.interactions)
        found = await committed(kafka, group, partitions)
        ranges = out_of_range(found, await offset_ranges(consumer, partitions))
    return [partition for partition, *_ in ranges]


async def _forget_profiles(store: ProfileStore) -> int:
    forgotten = 0
    batch: list[str] = []
    async for user_id in store.scan():
        batch.append(user_id)
        if len(batch) == 500:
            forgotten += await _forget(store, batch)
            batch.clear()
    return forgotten + (await _forget(store, batch) if batch else 0)


async def _forget(store: ProfileStore, users: list[str]) -> int:
    """A profile that is written with an expiry in the past is deleted, and announced like any other write."""
    found = [stored for stored in await store.read(users) if stored is not None]
    writes = [
        Write(s.profile.user_id, s.revision, Profile(s.profile.user_id, expires_at_ms=1), delete_tail=True)
        for s in found
    ]
    return sum(await store.write(writes)) if writes else 0
