"""Counts positive interactions by item, hour and day, exactly once, with Kafka transactions.

Each record of a positive action counts once, in the hour of its event time. Counts and offsets are committed together,
so a record counts once however often workers die. The worker does not remember events. So an event that is recorded
twice counts twice, and an undo subtracts nothing. An erased user's past actions stay in the sums, which name no user.
"""

from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from catalog.errors import BadRecord
from catalog.records import parse_stats, parse_stats_key, stats_key
from ingest import metrics
from ingest.consuming.commits import Commits
from ingest.consuming.groups import statistics_transactions
from ingest.consuming.loop import NOTHING, Assignment, Batch, BatchHandler, Offsets
from ingest.consuming.offsets import committed, offset_ranges, out_of_range, partitions_of
from ingest.consuming.read_topic import read_to_end
from ingest.consuming.with_timeout import with_timeout
from ingest.errors import BatchAbandoned, OffsetOutOfRange, TopicRecreated
from ingest.settings import IngestSettings
from ingest.statistics.counting import Counted, Counts, is_counted
from profiles.actions import ProfileSettings
from profiles.folding.events import Event, Position, events_of
from profiles.interactions import Refusal, parse
from topics.closing import close_client
from topics.producer import start_producer
from topics.settings import KafkaSettings

log = structlog.get_logger()

_TRANSACTION_TIMEOUT_MS = 30_000
_STEP_SECONDS = 30.0


class _Partition:
    """One partition of interactions that this worker holds.

    Attributes:
        producer: The partition's transactional producer.
        counts: The partition's counts.
        target: The partition of `item-stats` that the counts are written to.
    """

    def __init__(self, producer: AIOKafkaProducer, counts: Counts, target: int) -> None:
        self.producer = producer
        self.counts = counts
        self.target = target


class StatisticsHandler(BatchHandler):
    """Counts the positive interactions of the partitions that it holds, and writes counts and offsets in one
    transaction. So it gives the loop nothing to commit. It does not retry either: after a failure a new loop reads the
    uncommitted records again.

    The order in which a partition is taken over keeps the counts exact. First the producer starts with the partition's
    transactional id, which aborts the transaction of the previous owner. Then the committed offset is read, and last
    the counts, from the compacted topic.

    Args:
        kafka: The cluster.
        group: The consumer group.
        profile_settings: The configured actions.
        settings: The settings of ingest.
        topic_id: The id of the topic of interactions, 16 bytes.
        on_started: Called when the worker has begun to join its group.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        group: str,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
        topic_id: bytes,
        on_started: Callable[[], None],
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._profile_settings = profile_settings
        self._settings = settings
        self._topic_id = topic_id
        self._on_started = on_started
        self._held: dict[TopicPartition, _Partition] = {}
        self._producers: list[AIOKafkaProducer] = []

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        self._on_started()

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        """Takes over the partitions. Raises TopicRecreated and OffsetOutOfRange."""
        await self._release()
        partitions = sorted(assignment.partitions)
        if partitions:
            producers = {tp: await self._start(tp.partition) for tp in partitions}
            found = await committed(self._kafka, self._group, partitions)
            there = await offset_ranges(consumer, partitions)
            counts, targets = await self._restore({tp.partition for tp in partitions})
            if assignment.revoked:
                return
            for known in found.values():
                if known.metadata not in ("", self._topic_id.hex()):
                    raise TopicRecreated(
                        self._kafka.topics.interactions, bytes.fromhex(known.metadata), self._topic_id
                    )
            if ranges := out_of_range(found, there):
                raise OffsetOutOfRange(self._kafka.topics.interactions, ranges)
            self._held = {
                tp: _Partition(producers[tp], counts[tp.partition], tp.partition % targets)
                for tp in partitions
            }
            for tp in partitions:
                consumer.seek(tp, found[tp].offset if tp in found else there[tp].first)
        log.info("statistics_partitions_assigned", partitions=[tp.partition for tp in partitions])

    async def handle(self, batch: Batch) -> Offsets:
        """Commits one transaction for each partition."""
        for tp, records in batch.records.items():
            if batch.assignment.revoked:
                raise BatchAbandoned
            await self._count(tp, records)
        return NOTHING

    async def stopped(self) -> None:
        await self._release()

    async def _start(self, partition: int) -> AIOKafkaProducer:
        producer = await start_producer(
            self._kafka,
            transactional_id=statistics_transactions(self._kafka, partition),
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        )
        self._producers.append(producer)
        return producer

    async def _restore(self, partitions: set[int]) -> tuple[dict[int, Counts], int]:
        """Returns the counts of these partitions of interactions, and the number of partitions of `item-stats`.

        All counts of a partition are in one partition of `item-stats`, so only those partitions are read.
        """
        stats: dict[int, dict[str, bytes]] = {partition: {} for partition in partitions}
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(), isolation_level="read_committed", enable_auto_commit=False
        )
        try:
            await consumer.start()
            topic = self._kafka.topics.item_stats
            targets = len(await partitions_of(self._kafka, topic))
            chosen = [TopicPartition(topic, p) for p in sorted({p % targets for p in partitions})]
            consumer.assign(chosen)
            async for record in read_to_end(consumer, chosen):
                _restore_one(stats, record)
        finally:
            await close_client(consumer)
        return {partition: Counts(found) for partition, found in stats.items()}, targets

    async def _count(self, tp: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        held = self._held[tp]
        room = self._settings.statistics_keys - sum(len(other.counts) for other in self._held.values())
        counted = held.counts.add(self._positives(records), max(0, room))
        await with_timeout(self._commit(tp, held, counted, records[-1].offset + 1), _STEP_SECONDS)
        held.counts.keep(counted)
        metrics.COUNTED.inc(counted.counted)
        metrics.UNCOUNTED.inc(counted.uncounted)

    def _positives(self, records: Sequence[ConsumerRecord]) -> list[Event]:
        found = []
        for raw in records:
            position = Position(self._topic_id, raw.partition, raw.offset)
            read = parse(
                raw.value,
                raw.key,
                raw.headers,
                position,
                raw.timestamp,
                self._profile_settings,
                mappings=self._settings.mappings,
            )
            if isinstance(read, Refusal):
                continue  # The interactions worker writes the dead letters.
            found += [
                event
                for event in events_of(read)
                if isinstance(event, Event) and is_counted(event, self._profile_settings)
            ]
        return found

    async def _commit(self, tp: TopicPartition, held: _Partition, counted: Counted, offset: int) -> None:
        producer = held.producer
        async with producer.transaction():
            for item_id, stats in counted.stats.items():
                await producer.send(
                    self._kafka.topics.item_stats,
                    stats,
                    key=stats_key(tp.partition, item_id),
                    partition=held.target,
                )
            await producer.send_offsets_to_transaction(
                {tp: OffsetAndMetadata(offset, self._topic_id.hex())}, self._group
            )

    async def _release(self) -> None:
        self._held = {}
        while self._producers:
            # If a producer cannot stop, the next owner or the timeout aborts its transaction.
            await close_client(self._producers.pop())


def _restore_one(stats: dict[int, dict[str, bytes]], record: ConsumerRecord) -> None:
    """Takes the record's counts. One that cannot be used is passed over, as in the catalogue, which says so: otherwise
    the item's next event would find it, and nothing of the partition would be counted any more."""
    try:
        partition, item_id = parse_stats_key(record.key or b"")
        if partition not in stats:
            return
        if record.value is None:
            stats[partition].pop(item_id, None)
        else:
            parse_stats(record.value)
            stats[partition][item_id] = record.value
    except BadRecord:
        return
