"""Folds the topic in memory, to find out what the store should hold."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.consuming.offsets import partitions_of, reader
from ingest.consuming.read_topic import read_to_end
from ingest.profiles.records import read_record
from profiles.actions import ProfileSettings
from profiles.folding.events import Record
from profiles.folding.fold import fold
from profiles.folding.tail import Tail
from profiles.mappings import EventMapping
from profiles.profile import Profile
from topics.settings import KafkaSettings

# Folding several records of a user at once is cheaper. This bounds how many records wait in memory for it.
_FOLD_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class LogFold:
    """The fold of the log.

    Attributes:
        topic_id: The topic's id, 16 bytes.
        profiles: Profiles without model states, by user id.
        tails: Tails by user id.
        first: The first offset that was read, by partition.
        ends: The offset after the last that was read, by partition.
        records: How many records were read.
        refused: How many of them cannot be used.
    """

    topic_id: bytes
    profiles: dict[str, Profile]
    tails: dict[str, Tail]
    first: Mapping[int, int]
    ends: Mapping[int, int]
    records: int
    refused: int

    @property
    def whole(self) -> bool:
        """Whether the log still has its first records."""
        return not any(self.first.values())


@dataclass(slots=True)
class _Folding:
    settings: ProfileSettings
    profiles: dict[str, Profile] = field(default_factory=dict)
    tails: dict[str, Tail] = field(default_factory=dict)
    waiting: dict[str, list[Record]] = field(default_factory=dict)

    def fold(self) -> None:
        for user_id, records in self.waiting.items():
            folded = fold(self.profiles.get(user_id), user_id, records, self.settings)
            self.profiles[user_id] = folded.profile
            if folded.erased:
                self.tails.pop(user_id, None)
            if folded.tail_added:
                tail = self.tails.get(user_id, Tail())
                self.tails[user_id] = tail.add(folded.tail_added, self.settings.tail)
        self.waiting.clear()


async def fold_log(
    kafka: KafkaSettings,
    settings: ProfileSettings,
    topic_id: bytes,
    until: Mapping[int, int] | None = None,
    mappings: Sequence[EventMapping] = (),
) -> LogFold:
    """Folds the interactions topic from its start. It holds every profile in memory, a few kilobytes a user.

    Args:
        kafka: The cluster.
        settings: The settings of profiles.
        topic_id: The topic's id, 16 bytes.
        until: End offsets by partition, exclusive. None: the current ends.
        mappings: The mappings of other producers' records.

    Raises:
        KafkaError, TimeoutError: Kafka fails.
    """
    folding = _Folding(settings)
    records = refused = 0
    async with reader(
        kafka, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        partitions = await partitions_of(kafka, kafka.topics.interactions)
        consumer.assign(partitions)
        first, ends = await _range(consumer, partitions, until)
        async for raw in read_to_end(consumer, partitions, ends):
            records += 1
            record, letter = read_record(raw, topic_id, settings, mappings)
            refused += letter is not None
            if record is not None:
                folding.waiting.setdefault(record.user_id, []).append(record)
            if records % _FOLD_EVERY == 0:
                folding.fold()
                await asyncio.sleep(0)
    folding.fold()
    return LogFold(
        topic_id,
        folding.profiles,
        folding.tails,
        {tp.partition: offset for tp, offset in first.items()},
        {tp.partition: offset for tp, offset in ends.items()},
        records,
        refused,
    )


async def _range(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], until: Mapping[int, int] | None
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    first = await consumer.beginning_offsets(partitions)
    there = await consumer.end_offsets(partitions)
    ends = {
        tp: there[tp] if until is None else min(there[tp], until.get(tp.partition, 0)) for tp in partitions
    }
    return first, ends
