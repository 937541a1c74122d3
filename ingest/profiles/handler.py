"""Applies interactions to profiles, a batch at a time. Every event passes through here."""

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
from ingest.profiles.notices import CountedNotices
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

    Offsets are committed only when the whole batch is applied and all its dead letters are acknowledged. A batch that
    fails is tried again with back-off, and never skipped.

    Each commit also carries the store's identity, and the offset of the partition some seconds earlier. A member that
    takes over the partition and finds another store begins at that earlier offset. It applies the events that the store
    lost again, and the watermarks drop the others.

    Args:
        kafka: The cluster.
        group: The consumer group.
        apply: Writes the profiles.
        dead_letters: Takes the records that cannot be used.
        health: Shows whether a batch fails.
        topic_id: The id of the topic, 16 bytes.
        store_identity: The store that the records are applied to.
        profile_settings: The settings of profiles.
        settings: The settings of ingest.
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
        self._mappings = settings.mappings
        self._notices = CountedNotices()
        self._rewind_window = RewindWindow(settings.rewind_seconds)
        self._lag = Lag()
        self._watching: asyncio.Task[None] | None = None
        self._failing = False

    def store_is(self, identity: str) -> None:
        """Takes the identity of the store that answers now. If it is not the one of the start, the loop ends."""
        self._current_identity = identity

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        self._watching = asyncio.create_task(watch_lag(consumer, self._lag), name="watch lag")
        self._health.up(COMPONENT)

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        """Starts at the committed offsets, or earlier if the store has changed, or else at the first record."""
        # Other processes may have written the profiles meanwhile.
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
        # Empty partitions are committed as well. Otherwise records that retention deleted would count as lag.
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
        """Raises StoreChanged. A new loop then begins at the events that the store may have lost."""
        started = time.perf_counter()
        for tp, part in batch.records.items():
            self._lag.begin(tp.partition, part[0].offset, part[0].timestamp)
        checked = read_batch(
            batch.records, self._topic_id, self._profile_settings, self._mappings, self._notices
        )
        self._dead_letters.admit(checked.letters, len(batch) - len(checked.letters))
        origins = [one.origin for one in checked.traced]
        with Followed("process interactions", SpanKind.CONSUMER, origins) as followed:
            traceparents = by_user(checked.traced, followed)
            await batch.retry(partial(self._attempt, checked, traceparents), unless=(StoreChanged,))
        self._succeeded()
        metrics.RECORDS_OF["rejected"].inc(len(checked.letters))
        metrics.RECORDS_OF["later_kind"].inc(checked.later_kinds)
        metrics.BATCH_RECORDS.observe(len(batch))
        metrics.STAGE["batch"].observe(time.perf_counter() - started)
        metrics.RECORD_AGE_SECONDS.observe(max(0.0, time.time() - checked.oldest_ms / 1000))
        return self._offsets(batch)

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        """Raises StoreChanged when another store answers, even if no records come. Raises what ended the watch of the
        lag, whose gauges would otherwise stay as they were."""
        if self._watching is not None and self._watching.done():
            self._watching.result()
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
        except Exception as error:  # Our own bugs as well: the batch is kept, and the failure is logged.
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
