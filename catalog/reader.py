"""Reads the catalogue's topics from their start, until cancelled."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from catalog import metrics
from catalog.errors import BadRecord
from catalog.records import Apply
from telemetry.faults import hold_back
from topics.closing import close_client
from topics.errors import TopicsError
from topics.group_offsets import group_offsets
from topics.partitions import partition_counts
from topics.settings import KafkaSettings

log = structlog.get_logger()

_POLL_MS = 500
_RECORDS_A_POLL = 1000
_SLICE_SECONDS = 0.002
# When a broker is gone, polls return nothing, and a request for positions may hang.
_ASK_SECONDS = 2.0
_ENDS_SECONDS = 10.0
_CURRENT_SECONDS = 5.0
# Records whose application raises are passed over up to a tenth of all that were read, and so many in any case. More
# than that is no matter of single records.
_FEW_FAULTS = 100
_FAULTS_SHARE = 0.1
_NO_TAILS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _Goal:
    """End offsets to read up to.

    Attributes:
        left: Partitions that are not read that far yet, with their end offsets.
        reached: Set when none is left.
        checked: Whether the offsets are known to exist in the topics.
    """

    left: dict[TopicPartition, int]
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    checked: bool = False


class Reader:
    """A consumer without a group: every process reads everything. Isolation is read_committed.

    Args:
        kafka: The broker.
        apply: Applies a record, by topic. A record for which it raises is counted, logged and skipped. BadRecord is the
            record's fault. Anything else is ours; if it happens to more than a tenth of the records, it is raised.
        applied: Called after records were applied. Large batches call it every few milliseconds.
        partitions_check_seconds: Time between two checks for new partitions.
        first: A topic that is read to its end before any other. Empty: none.
        tails: Topics that are not read from their start, but from what a consumer group has committed, with the group.
    """

    EXPECTED: Final = (KafkaError, TopicsError, OSError, TimeoutError)

    def __init__(
        self,
        kafka: KafkaSettings,
        apply: Mapping[str, Apply],
        applied: Callable[[], None],
        partitions_check_seconds: float,
        first: str = "",
        tails: Mapping[str, str] = _NO_TAILS,
    ) -> None:
        self._kafka = kafka
        self._apply = apply
        self._applied = applied
        self._check_seconds = partitions_check_seconds
        for topic in apply:
            metrics.RECORDS.labels(topic)
            metrics.BAD_RECORDS.labels(topic)
        self._next: dict[TopicPartition, int] = {}
        self._read = 0
        self._faults = 0
        self._first = first
        self._tails = tails
        self._goals: list[_Goal] = []
        self._start: _Goal | None = None
        self.reached = asyncio.Event()

    async def run(self) -> None:
        """Reads until cancelled. Sets `reached` when it has read up to the ends that the topics had at the start.

        Called again after a failure, it continues after the last record that it applied. Raises one of EXPECTED if
        Kafka fails or a topic is missing.
        """
        while True:
            await self._connected()

    async def _connected(self) -> None:
        """Reads with one consumer until the number of partitions changes."""
        counts = await partition_counts(self._kafka, list(self._apply))
        partitions = [TopicPartition(name, i) for name, count in sorted(counts.items()) for i in range(count)]
        # Before the ends are asked for, so that what follows from commits lies before these ends.
        await self._begin_tails(partitions)
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_POLL_MS,
        )
        watch: asyncio.Task[None] | None = None
        following: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._kafka.request_timeout_ms / 1000):
                await consumer.start()
            consumer.assign(partitions)
            for partition in partitions:
                if partition in self._next:
                    consumer.seek(partition, self._next[partition])
            async with asyncio.timeout(self._kafka.request_timeout_ms / 1000):
                await self._begin(consumer, partitions)
            watch = asyncio.create_task(self._grown(counts))
            following = asyncio.create_task(self._note_current(consumer, partitions))
            while not watch.done():
                if following.done():
                    following.result()
                batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_A_POLL)
                for partition, records in batches.items():
                    await self._take(partition, records)
                if self._goals:
                    await self._look_whether_reached(consumer)
            watch.result()
        finally:
            for task in (watch, following):
                if task is not None:
                    task.cancel()
            await close_client(consumer)

    async def _begin_tails(self, partitions: list[TopicPartition]) -> None:
        for topic, group in self._tails.items():
            if unread := [tp for tp in partitions if tp.topic == topic and tp not in self._next]:
                found = await group_offsets(self._kafka, group, unread)
                self._next.update({tp: commit.offset for tp, commit in found.items()})

    async def _take(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        apply = self._apply[partition.topic]
        began = time.monotonic()
        for record in records:
            try:
                apply(record)
            except BadRecord as error:
                self._pass_over(record, error)
            except MemoryError:
                raise  # It says nothing about the record.
            except Exception as error:
                self._hold_back(record, error)
            self._next[partition] = record.offset + 1
            self._read += 1
            if time.monotonic() - began > _SLICE_SECONDS:
                self._applied()
                await asyncio.sleep(0)
                began = time.monotonic()
        metrics.RECORDS.labels(partition.topic).inc(len(records))
        self._applied()

    def _pass_over(self, record: ConsumerRecord, error: BadRecord) -> None:
        metrics.BAD_RECORDS.labels(record.topic).inc()
        log.warning(
            "catalog_bad_record",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=error.reason,
        )

    def _hold_back(self, record: ConsumerRecord, error: Exception) -> None:
        """Passes over a record for which applying raised. Raises the error where that is so of too many."""
        if self._faults >= max(_FEW_FAULTS, _FAULTS_SHARE * self._read):
            raise error
        self._faults += 1
        metrics.BAD_RECORDS.labels(record.topic).inc()
        hold_back(
            "catalog-record", error, topic=record.topic, partition=record.partition, offset=record.offset
        )

    def has_read(self, topic: str, ends: Mapping[int, int]) -> bool:
        """Whether the records before these end offsets (by partition) are known to be applied. It may be false for a
        moment after `reach`, if the log no longer has the last of them."""
        return all(self._next.get(TopicPartition(topic, number), 0) >= end for number, end in ends.items())

    async def reach(self, topic: str, ends: Mapping[int, int]) -> None:
        """Waits until the topic is applied up to these end offsets (by partition)."""
        if not ends:
            return
        goal = _Goal({TopicPartition(topic, number): end for number, end in ends.items()})
        self._goals.append(goal)
        try:
            await goal.reached.wait()
        finally:
            if goal in self._goals:
                self._goals.remove(goal)

    async def _begin(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        if self._start is None:
            self._start = _Goal(await consumer.end_offsets(partitions), self.reached)
            self._goals.append(self._start)
        for goal in self._goals:
            goal.checked = False
        if any(tp.topic == self._first for tp in self._start.left):
            consumer.pause(*(tp for tp in partitions if tp.topic != self._first))

    async def _look_whether_reached(self, consumer: AIOKafkaConsumer) -> None:
        """Sets the goals that are reached.

        Everything fetched is applied, so the consumer's positions say how far the catalogue is. Counting records would
        not: aborted ones, transaction markers and compacted ones are never delivered.
        """
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                for goal in tuple(self._goals):
                    await self._look_at(goal, consumer)
        except TimeoutError:
            return
        if self._start is not None and not any(tp.topic == self._first for tp in self._start.left):
            consumer.resume(*consumer.paused())
        for goal in [goal for goal in self._goals if not goal.left]:
            self._goals.remove(goal)
            goal.reached.set()

    async def _look_at(self, goal: _Goal, consumer: AIOKafkaConsumer) -> None:
        """Takes off what is reached."""
        if not goal.checked:
            await self._check(goal, consumer)
            goal.checked = True
        for partition, end in tuple(goal.left.items()):
            if await consumer.position(partition) >= end:
                del goal.left[partition]

    async def _check(self, goal: _Goal, consumer: AIOKafkaConsumer) -> None:
        """Takes back what there is not. A topic that was recreated may have fewer partitions than the one before, and
        end earlier: nobody would ever reach the rest."""
        if goal.left.keys() - consumer.assignment():
            counts = await partition_counts(self._kafka, sorted({tp.topic for tp in goal.left}))
            for partition in [tp for tp in goal.left if tp.partition >= counts[tp.topic]]:
                del goal.left[partition]
        there = await consumer.end_offsets(list(goal.left))
        goal.left.update({tp: min(end, there.get(tp, end)) for tp, end in goal.left.items()})

    async def _note_current(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Updates the metric `CURRENT`. It stands still while Kafka is unreachable or this process is behind."""
        while True:
            moment = time.time()
            # In its own task: a connection that closes cancels the tasks that wait for it.
            asking = asyncio.ensure_future(consumer.end_offsets(partitions))
            try:
                await asyncio.wait({asking}, timeout=_ENDS_SECONDS)
            finally:
                asking.cancel()
            if not asking.done() or asking.cancelled() or asking.exception() is not None:
                log.warning("catalog_ends_unknown", seconds=_ENDS_SECONDS)
            else:
                goal = _Goal(dict(asking.result()), checked=True)
                self._goals.append(goal)
                try:
                    await goal.reached.wait()
                finally:
                    if goal in self._goals:
                        self._goals.remove(goal)
                metrics.CURRENT.set(moment)
            await asyncio.sleep(_CURRENT_SECONDS)

    async def _grown(self, counts: Mapping[str, int]) -> None:
        """Returns when a topic no longer has this number of partitions."""
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                if await partition_counts(self._kafka, list(counts)) != counts:
                    return
            except TopicsError as error:
                log.warning("catalog_partitions_unknown", error=str(error))
