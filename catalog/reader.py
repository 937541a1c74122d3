"""Reads the catalogue's topics from their beginning, for ever."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from catalog import metrics
from catalog.errors import BadRecord
from catalog.records import Apply
from topics.errors import TopicsError
from topics.partitions import partition_counts
from topics.settings import KafkaSettings

log = structlog.get_logger()

_POLL_MS = 500
_RECORDS_A_POLL = 1000
_SLICE_SECONDS = 0.002
_RETRY_SECONDS = 0.2, 5.0
# A poll's answer is worth nothing when a broker is gone; a question about positions may then hang.
_ASK_SECONDS = 2.0


class Reader:
    """A consumer without a group: every process reads everything.

    `apply`: what a record does, by topic; a record that it refuses is counted, logged and passed.
    `applied` is called after records were applied, often, so that nothing waits for the end of a batch.
    Transactions that are open or were aborted are not seen (read_committed).
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        apply: Mapping[str, Apply],
        applied: Callable[[], None],
        partitions_check_seconds: float,
    ) -> None:
        self._kafka = kafka
        self._apply = apply
        self._applied = applied
        self._check_seconds = partitions_check_seconds
        self._next: dict[TopicPartition, int] = {}
        self._behind: dict[TopicPartition, int] = {}
        self.reached = asyncio.Event()

    async def run(self) -> None:
        """Reads until cancelled. Sets `reached` when the ends that were seen at the start are reached; a
        failure, a missing topic among them, is logged and tried again."""
        least, most = _RETRY_SECONDS
        delay = least
        while True:
            began = time.monotonic()
            try:
                await self._connected()
                delay = least
            except (KafkaError, TopicsError, OSError, TimeoutError) as error:
                metrics.RECONNECTS.inc()
                delay = least if time.monotonic() - began > 30 else min(most, delay * 2)
                log.warning("catalog_reader_retries", error=str(error) or type(error).__name__, seconds=delay)
                # Full jitter: many servers lose the same broker at the same moment.
                await asyncio.sleep(random.uniform(least / 2, delay))

    async def _connected(self) -> None:
        """Reads over one consumer, until it fails or the topics have grown."""
        counts = await partition_counts(self._kafka, list(self._apply))
        partitions = [TopicPartition(name, i) for name, count in sorted(counts.items()) for i in range(count)]
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_POLL_MS,
        )
        watch: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._kafka.request_timeout_ms / 1000):
                await consumer.start()
            consumer.assign(partitions)
            for partition in partitions:
                if partition in self._next:
                    consumer.seek(partition, self._next[partition])
            if not self.reached.is_set():
                async with asyncio.timeout(self._kafka.request_timeout_ms / 1000):
                    self._behind = await consumer.end_offsets(partitions)
            watch = asyncio.create_task(self._grown(counts))
            while not watch.done():
                batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_A_POLL)
                for partition, records in batches.items():
                    await self._take(partition, records)
                if not self.reached.is_set():
                    await self._look_whether_reached(consumer)
        finally:
            if watch is not None:
                watch.cancel()
            await consumer.stop()

    async def _take(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        apply = self._apply[partition.topic]
        began = time.monotonic()
        for record in records:
            try:
                apply(record.key, record.value)
            except BadRecord as error:
                metrics.BAD_RECORDS.labels(partition.topic).inc()
                log.warning(
                    "catalog_bad_record",
                    topic=partition.topic,
                    partition=partition.partition,
                    offset=record.offset,
                    reason=error.reason,
                )
            self._next[partition] = record.offset + 1
            if time.monotonic() - began > _SLICE_SECONDS:
                self._applied()
                await asyncio.sleep(0)
                began = time.monotonic()
        metrics.RECORDS.labels(partition.topic).inc(len(records))
        self._applied()

    async def _look_whether_reached(self, consumer: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                for partition, end in tuple(self._behind.items()):
                    # Not counted by records: aborted ones, markers and compacted ones never come.
                    if await consumer.position(partition) < end:
                        return
                    del self._behind[partition]
        except TimeoutError:
            return
        self.reached.set()
        metrics.READY.set(1)

    async def _grown(self, counts: Mapping[str, int]) -> None:
        """Ends when a topic has other partitions than these."""
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                if await partition_counts(self._kafka, list(counts)) != counts:
                    return
            except TopicsError as error:
                log.warning("catalog_partitions_unknown", error=str(error))
