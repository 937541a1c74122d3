"""Commits the offsets of handled records in the background. They never go back."""

import asyncio
from collections.abc import Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from ingest import metrics
from ingest.consuming.with_timeout import with_timeout
from ingest.settings import IngestSettings

log = structlog.get_logger()


class Commits:
    """The offsets that one member of a group has to commit for its partitions.

    A failed commit does no harm: the owner of the partition reads the records again, and handlers drop what they have
    already handled. So a commit may be late by up to `commit_interval_ms`, and many batches share one.
    """

    def __init__(self, consumer: AIOKafkaConsumer, settings: IngestSettings) -> None:
        self._consumer = consumer
        self._settings = settings
        self._marks: dict[TopicPartition, OffsetAndMetadata] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._marked = asyncio.Event()
        self._committing = asyncio.Lock()
        self._assignment = 0

    def start(self, committed: Mapping[TopicPartition, int]) -> None:
        """Takes the offsets that the group has committed. No mark below them is committed."""
        self._committed.update(committed)

    def mark(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Marks everything below these offsets as handled. They are committed soon."""
        if offsets:
            self._marks.update(offsets)
            self._marked.set()

    def clear(self) -> None:
        """Drops all marks, because the partitions have moved."""
        self._assignment += 1
        self._marks.clear()
        self._committed.clear()

    async def run(self) -> None:
        """Commits the marked offsets until it is cancelled. Waits for `backoff_max_ms` after a failed commit."""
        while True:
            await self._marked.wait()
            await asyncio.sleep(self._settings.commit_interval_ms / 1000)
            self._marked.clear()
            try:
                await self.commit()
            except (KafkaError, TimeoutError) as error:
                metrics.COMMIT_FAILURES.inc()
                log.warning("commit_failed", cause=repr(error))
                await asyncio.sleep(self._settings.backoff_max_ms / 1000)
                if self._marks:
                    self._marked.set()

    async def commit(self) -> None:
        """Commits the marked offsets now. The time is bounded, so that no commit is under way when partitions move.

        Raises:
            KafkaError: The group was rebalanced meanwhile, or Kafka refuses the commit.
            TimeoutError: Kafka does not answer.
        """
        seconds = self._settings.commit_timeout_ms / 1000
        async with asyncio.timeout(2 * seconds), self._committing:
            assignment = self._assignment
            offsets = {tp: o for tp, o in self._marks.items() if o.offset > self._committed.get(tp, -1)}
            if not offsets:
                return
            await with_timeout(self._consumer.commit(offsets), seconds)
            if assignment == self._assignment:
                self._committed.update({tp: o.offset for tp, o in offsets.items()})
                self._marks = {tp: o for tp, o in self._marks.items() if offsets.get(tp) != o}
