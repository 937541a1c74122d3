"""The group consumer of `interactions`: positions, rebalances, and commits that never go back."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from ingest import metrics
from ingest.consuming.groups import interactions_group
from ingest.consuming.lag import Lag, watch_lag
from ingest.consuming.offsets import committed, offset_ranges, out_of_range, store_mark, to_metadata
from ingest.consuming.polling import Records, poll
from ingest.consuming.with_timeout import with_timeout
from ingest.errors import OffsetOutOfRange
from ingest.profiles.rewind_window import RewindWindow
from ingest.settings import IngestSettings
from topics.closing import close_client
from topics.settings import KafkaSettings

log = structlog.get_logger()

# What tells that this loop hangs is the liveness probe. Kafka's own measure, the time between polls, would take
# the partitions away in the middle of a long outage of the store, for nobody's good.
_MAX_POLL_INTERVAL_MS = 24 * 3_600_000
_PREPARE_SECONDS = 60.0


class InteractionsConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of the group. `store` is the identity of the store that the records are applied to.

    Beside each offset it commits that identity, and the offset where the partition stood some seconds before. Who
    takes the partition over and finds another store begins there: what the store lost is applied again, and what
    it did not lose is dropped by the watermarks.

    Back-pressure: a batch at a time is out, and of what comes next aiokafka holds one fetch a partition at most,
    so a loop that waits reads nothing more while the heartbeats go on.

    Rebalances are eager: everything is revoked every time. A revocation waits for the batch in hand, commits, and
    starts a new epoch; a batch of an older epoch is not committed, and its records come again, here or elsewhere.
    """

    def __init__(self, kafka: KafkaSettings, settings: IngestSettings, store: str) -> None:
        self._kafka = kafka
        self._settings = settings
        self._group = interactions_group(kafka)
        self._topic = kafka.topics.interactions
        self._store = store_mark(store)
        self._consumer = AIOKafkaConsumer(
            **kafka.client_options(),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=settings.fetch_wait_ms,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=max(100, settings.session_timeout_ms // 4),
            max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
            isolation_level="read_committed",
        )
        self._epoch = 0
        self._prepared = -1
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = asyncio.Event()
        self._rewind_window = RewindWindow(settings.rewind_seconds)
        self._marks: dict[TopicPartition, OffsetAndMetadata] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._marked = asyncio.Event()
        self._committing = asyncio.Lock()
        self._committer: asyncio.Task[None] | None = None
        self._lag = Lag()
        self._watching: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        """Changes whenever partitions may have moved."""
        return self._epoch

    @property
    def leaving(self) -> asyncio.Event:
        """Set while partitions are about to move: finish or abandon the batch in hand."""
        return self._leaving

    async def start(self) -> None:
        """Join the group. Raises KafkaError, OSError."""
        self._consumer.subscribe([self._topic], listener=self)
        await self._consumer.start()
        self._committer = asyncio.create_task(self._commit_marks(), name="commit offsets")
        self._watching = asyncio.create_task(watch_lag(self._consumer, self._lag), name="watch lag")

    async def close(self) -> None:
        """Commit what is applied and leave the group."""
        if self._committer is not None:
            with contextlib.suppress(KafkaError, TimeoutError):
                await self._commit()
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._lag.close()
        await close_client(self._consumer)
        metrics.ASSIGNED.set(0)

    async def poll(self) -> tuple[int, Records]:
        """The next batch and its epoch; empty where none came in time.

        Raises OffsetOutOfRange, KafkaError and TimeoutError (start a new consumer then).
        """
        if self._prepared != self._epoch:
            await with_timeout(self._prepare(), _PREPARE_SECONDS)
        epoch = self._epoch
        try:
            records = await poll(self._consumer, self._settings.poll_ms, self._settings.batch_records)
        except NoOffsetForPartitionError:
            # The fetcher looked before the positions were set; setting them again drops its complaint.
            self._prepared = -1
            return epoch, {}
        except OffsetOutOfRangeError as error:
            if epoch == self._epoch:
                await self._raise_lost(error.args[0])
            return epoch, {}
        return epoch, records

    @contextlib.contextmanager
    def working(self, records: Records) -> Iterator[None]:
        """While inside, with these records in hand, a revocation waits, for a bounded time."""
        self._idle.clear()
        for tp, part in records.items():
            self._lag.begin(tp.partition, part[0].offset, part[0].timestamp)
        try:
            yield
        finally:
            self._idle.set()

    def mark(self, epoch: int, records: Records) -> None:
        """The batch is applied: to be committed soon, unless its epoch is over."""
        if epoch != self._epoch:
            metrics.ABANDONED.inc()
            return
        now = time.monotonic()
        for tp, part in records.items():
            offset = part[-1].offset + 1
            self._rewind_window.note(tp.partition, offset, now)
            safe = self._rewind_window.safe(tp.partition)
            self._marks[tp] = OffsetAndMetadata(
                offset, to_metadata(self._store, offset if safe is None else safe)
            )
            self._lag.applied(tp.partition, offset, part[-1].timestamp)
        self._marked.set()

    def forget(self, epoch: int) -> None:
        """The batch is not applied: its records come again."""
        if epoch == self._epoch:
            self._prepared = -1
        metrics.ABANDONED.inc()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called by aiokafka while it still heartbeats, before it joins again."""
        self._leaving.set()
        try:
            async with asyncio.timeout(self._settings.revoke_timeout_ms / 1000):
                await self._idle.wait()
                await self._commit()
        except (KafkaError, TimeoutError) as error:
            log.warning("revoked_in_the_middle", cause=repr(error), partitions=len(revoked))
        self._epoch += 1
        self._marks.clear()
        self._committed.clear()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called by aiokafka without heartbeats going, so nothing is waited for here."""
        self._epoch += 1
        self._leaving.clear()
        metrics.ASSIGNED.set(len(assigned))
        log.info("assigned", partitions=sorted(tp.partition for tp in assigned))

    async def _prepare(self) -> None:
        """Positions: what is committed, or earlier if the store is another one; else the first record."""
        epoch = self._epoch
        assignment = set(self._consumer.assignment())
        found = await committed(self._kafka, self._group, assignment) if assignment else {}
        there = await offset_ranges(self._consumer, assignment) if assignment else {}
        if epoch != self._epoch or assignment != self._consumer.assignment():
            return  # poll comes here again
        if ranges := out_of_range(found, there):
            self._count_lost(OffsetOutOfRange(self._topic, ranges))
        now = time.monotonic()
        starts: dict[TopicPartition, OffsetAndMetadata] = {}
        positions: dict[int, int] = {}
        for tp in assignment:
            known = found.get(tp)
            if known is None:
                start = there[tp].first
                starts[tp] = OffsetAndMetadata(start, to_metadata(self._store, start))
            elif known.store in ("", self._store) or known.safe is None:
                start = known.offset
            else:
                start = max(known.safe, there[tp].first)
                metrics.REWINDS.inc()
                log.warning("rewound", partition=tp.partition, offset=start, end=there[tp].end)
            earlier = known.safe if known is not None and known.safe is not None else start
            self._rewind_window.start(tp.partition, max(min(earlier, start), there[tp].first), now)
            self._committed[tp] = -1 if known is None else known.offset
            self._consumer.seek(tp, start)
            positions[tp.partition] = start
        # Empty partitions get a commit as well, so that whoever measures lag does not count expired history.
        self._lag.start(positions)
        self._marks.update(starts)
        if starts:
            self._marked.set()
        self._prepared = epoch

    async def _raise_lost(self, ranges: Mapping[TopicPartition, int]) -> None:
        there = await offset_ranges(self._consumer, ranges)
        self._count_lost(
            OffsetOutOfRange(
                self._topic, [(tp.partition, o, there[tp].first, there[tp].end) for tp, o in ranges.items()]
            )
        )

    def _count_lost(self, error: OffsetOutOfRange) -> None:
        metrics.LOST.inc(error.lost)
        raise error

    async def _commit_marks(self) -> None:
        while True:
            await self._marked.wait()
            await asyncio.sleep(self._settings.commit_interval_ms / 1000)
            self._marked.clear()
            try:
                await self._commit()
            except (KafkaError, TimeoutError) as error:
                # Not fatal: whoever owns the partitions reads the records again, and the watermarks drop them.
                metrics.COMMIT_FAILURES.inc()
                log.warning("commit_failed", cause=repr(error))
                await asyncio.sleep(self._settings.backoff_max_ms / 1000)
                if self._marks:
                    self._marked.set()

    async def _commit(self) -> None:
        """Commits the marks of this epoch. Bounded, so that none is under way when an epoch ends."""
        seconds = self._settings.commit_timeout_ms / 1000
        async with asyncio.timeout(2 * seconds), self._committing:
            epoch = self._epoch
            offsets = {tp: o for tp, o in self._marks.items() if o.offset > self._committed.get(tp, -1)}
            if not offsets:
                return
            await with_timeout(self._consumer.commit(offsets), seconds)
            if epoch == self._epoch:
                self._committed.update({tp: o.offset for tp, o in offsets.items()})
                self._marks = {tp: o for tp, o in self._marks.items() if offsets.get(tp) != o}
