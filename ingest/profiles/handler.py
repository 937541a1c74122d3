"""Interactions into profiles, a batch at a time: the way of an event through ingest."""

import asyncio
import time
from collections.abc import Mapping
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from ingest import metrics
from ingest.consuming.commits import Commits
from ingest.consuming.dead_letters import DeadLetters
from ingest.consuming.lag import Lag, watch_lag
from ingest.consuming.loop import NOTHING, Assignment, Batch, BatchHandler, Offsets
from ingest.consuming.offsets import committed, offset_ranges, out_of_range, store_mark, to_metadata
from ingest.errors import BatchFailed, OffsetOutOfRange, StoreChanged
from ingest.profiles.apply import Apply
from ingest.profiles.records import CheckedRecords, read_batch
from ingest.profiles.rewind_window import RewindWindow
from ingest.profiles.traced import by_user
from ingest.settings import IngestSettings
from profiles.actions import ProfileSettings
from telemetry.health import Health
from telemetry.tracing.spans import Followed, SpanKind
from topics.settings import KafkaSettings

log = structlog.get_logger()

COMPONENT = "interactions"


class InteractionsHandler(BatchHandler):
    """Applies interactions to the profiles of one store.

    A batch is kept until all of it is applied and all its dead letters are acknowledged; only then its offsets are
    committed. What cannot be applied is tried again with back-off, and never skipped.

    Beside each offset it commits the store's identity, and the offset where the partition stood some seconds before.
    A member that takes the partition over and finds another store begins there: what the store lost is applied again,
    and what it did not lose is dropped by the watermarks.

    Args:
        kafka: The cluster.
        group: The consumer group.
        apply: Writes the profiles.
        dead_letters: Takes the records that cannot be used.
        health: Where a batch that fails shows.
        topic_id: The id of the topic, 16 bytes.
        store_identity: Names the store that the records are applied to.
        profile_settings: What a profile holds.
        settings: How ingest runs.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        group: str,
        apply: Apply,
        dead_letters: DeadLetters,
        health: Health,
        topic_id: bytes,
        store_identity: str,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._topic = kafka.topics.interactions
        self._apply = apply
        self._dead_letters = dead_letters
        self._health = health
        self._topic_id = topic_id
        self._identity = store_identity
        self._current_identity = store_identity
        self._store_mark = store_mark(store_identity)
        self._profile_settings = profile_settings
        self._rewind_window = RewindWindow(settings.rewind_seconds)
        self._lag = Lag()
        self._watching: asyncio.Task[None] | None = None
        self._failing = False

    def store_is(self, identity: str) -> None:
        """Says which store answers now. Another one than at the start ends the loop."""
        self._current_identity = identity

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        self._watching = asyncio.create_task(watch_lag(consumer, self._lag), name="watch lag")
        self._health.up(COMPONENT)

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        """Positions are what is committed, or earlier if the store is another one; else the first record."""
        # Others may have written the profiles meanwhile.
        self._apply.clear_cache()
        metrics.ASSIGNED.set(len(assignment.partitions))
        partitions = assignment.partitions
        found = await committed(self._kafka, self._group, partitions) if partitions else {}
        there = await offset_ranges(consumer, partitions) if partitions else {}
        if assignment.revoked:
            return
        if ranges := out_of_range(found, there):
            _raise_lost(OffsetOutOfRange(self._topic, ranges))
        now = time.monotonic()
        first_commits: dict[TopicPartition, OffsetAndMetadata] = {}
        positions: dict[int, int] = {}
        for tp in partitions:
            known = found.get(tp)
            if known is None:
                start = there[tp].first
                first_commits[tp] = OffsetAndMetadata(start, to_metadata(self._store_mark, start))
            elif known.store in ("", self._store_mark) or known.rewind_to is None:
                start = known.offset
            else:
                start = max(known.rewind_to, there[tp].first)
                metrics.REWINDS.inc()
                log.warning("rewound", partition=tp.partition, offset=start, end=there[tp].end)
            earlier = known.rewind_to if known is not None and known.rewind_to is not None else start
            self._rewind_window.start(tp.partition, max(min(earlier, start), there[tp].first), now)
            consumer.seek(tp, start)
            positions[tp.partition] = start
        self._lag.start(positions)
        commits.start({tp: known.offset for tp, known in found.items()})
        # Empty partitions get a commit as well. Otherwise expired history would count as lag.
        commits.mark(first_commits)

    async def out_of_range(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Raises OffsetOutOfRange: records were deleted before they were read."""
        there = await offset_ranges(consumer, offsets)
        _raise_lost(
            OffsetOutOfRange(
                self._topic,
                [(tp.partition, offset, there[tp].first, there[tp].end) for tp, offset in offsets.items()],
            )
        )

    async def handle(self, batch: Batch) -> Offsets:
        """Raises StoreChanged, which a new loop cures: it begins where the store may have lost something."""
        started = time.perf_counter()
        for tp, part in batch.records.items():
            self._lag.begin(tp.partition, part[0].offset, part[0].timestamp)
        checked = read_batch(batch.records, self._topic_id, self._profile_settings)
        self._dead_letters.admit(checked.letters)
        origins = [one.origin for one in checked.traced]
        with Followed("process interactions", SpanKind.CONSUMER, origins) as followed:
            traceparents = by_user(checked.traced, followed)
            await batch.retry(partial(self._attempt, checked, traceparents), unless=(StoreChanged,))
        self._succeeded()
        metrics.RECORDS_OF["rejected"].inc(len(checked.letters))
        metrics.BATCH_RECORDS.observe(len(batch))
        metrics.STAGE["batch"].observe(time.perf_counter() - started)
        metrics.RECORD_AGE_SECONDS.observe(max(0.0, time.time() - checked.oldest_ms / 1000))
        return self._offsets(batch)

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        """Raises StoreChanged when another store answers, also while nothing flows."""
        if self._current_identity != self._identity:
            raise StoreChanged(self._current_identity)
        return NOTHING

    async def stopped(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._lag.close()
        metrics.ASSIGNED.set(0)

    def _offsets(self, batch: Batch) -> Offsets:
        now = time.monotonic()
        offsets = {}
        for tp, part in batch.records.items():
            offset = part[-1].offset + 1
            self._rewind_window.note(tp.partition, offset, now)
            rewind_to = self._rewind_window.start_of(tp.partition)
            metadata = to_metadata(self._store_mark, offset if rewind_to is None else rewind_to)
            offsets[tp] = OffsetAndMetadata(offset, metadata)
            self._lag.applied(tp.partition, offset, part[-1].timestamp)
        return offsets

    async def _attempt(self, checked: CheckedRecords, traceparents: Mapping[str, str], number: int) -> None:
        try:
            if checked.records:
                await self._apply(checked.records, self._identity, traceparents)
            if checked.letters:
                await self._dead_letters.write(checked.letters)
        except StoreChanged:
            raise
        except Exception as error:  # A fault of ours too: the batch stays, and the log says so.
            self._failed(error, number)
            raise

    def _failed(self, error: Exception, attempt: int) -> None:
        cause = error.cause if isinstance(error, BatchFailed) else "error"
        metrics.RETRIES.labels(cause).inc()
        self._failing = True
        self._health.down(COMPONENT, f"a batch is tried again: {error}")
        if cause == "error":
            log.exception("batch_failed", attempt=attempt)
        elif attempt in (0, 4) or attempt % 20 == 0:
            log.warning("batch_waits", cause=cause, attempt=attempt, detail=str(error))

    def _succeeded(self) -> None:
        if self._failing:
            log.info("batch_applied_after_failures")
            self._failing = False
            self._health.up(COMPONENT)


def _raise_lost(error: OffsetOutOfRange) -> None:
    metrics.LOST.inc(error.lost)
    raise error
