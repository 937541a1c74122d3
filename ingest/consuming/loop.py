"""The loop that every worker runs: poll, handle a batch, commit, back off.

What a worker does with its records is a `BatchHandler`. The loop keeps the order that no record is lost by:

1. A new assignment is positioned before its first batch is handled.
2. A batch is handled as a whole, or left to the next owner of its partitions. None is skipped.
3. Offsets are committed last, never back, and only while this member still holds the partitions.
4. Before partitions move, the current batch gets `revoke_timeout_ms` to finish, and handled records are committed.

Back-pressure: the loop handles one batch at a time, and aiokafka fetches at most one batch a partition ahead. So a
handler that waits stops the reading, while the heartbeats continue.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from ingest import metrics
from ingest.consuming.commits import Commits
from ingest.consuming.polling import Records, poll
from ingest.consuming.supervise import unless_stopped
from ingest.consuming.with_timeout import with_timeout
from ingest.errors import BatchAbandoned, Halted
from ingest.settings import IngestSettings
from telemetry.background import BackOff
from telemetry.tasks import cancel_and_wait
from topics.closing import close_client
from topics.settings import KafkaSettings

log = structlog.get_logger()

# The liveness probe notices a loop that hangs. Kafka's own measure, the time between polls, would take the partitions
# away in the middle of a long outage of the store or of the model, and another member could do no more with them.
_MAX_POLL_INTERVAL_MS: Final = 24 * 3_600_000
_POSITION_SECONDS: Final = 30.0

Offsets = Mapping[TopicPartition, OffsetAndMetadata]
NOTHING: Final[Offsets] = {}


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a worker reads, as one member of a consumer group.

    Attributes:
        group: The group's id.
        topics: The topics by name.
        start: Where to begin in a partition for which the group has no commit. none: the handler sets every position.
        max_records: Most records of a batch.
        pause_seconds: Pause after a poll that returned fewer than `max_records`. It makes batches larger.
        assignor: How Kafka shares the partitions among the members.
    """

    group: str
    topics: tuple[str, ...]
    start: Literal["none", "earliest", "latest"]
    max_records: int
    pause_seconds: float = 0.0
    assignor: type[AbstractPartitionAssignor] = RoundRobinPartitionAssignor


class Assignment:
    """The partitions that this member holds between two rebalances. Rebalances are eager: each revokes everything.

    Attributes:
        partitions: The partitions.
        leaving: Set when the partitions are about to move: finish or abandon the current batch.
        revoked: Whether the partitions have moved. From then on none of their offsets may be committed.
    """

    def __init__(self, partitions: frozenset[TopicPartition] = frozenset()) -> None:
        self.partitions = partitions
        self.leaving = asyncio.Event()
        self.revoked = False


class Batch:
    """Polled records from the partitions of one assignment."""

    def __init__(
        self, records: Records, assignment: Assignment, back_off: BackOff, stop: asyncio.Event
    ) -> None:
        self.records = records
        self.assignment = assignment
        self._back_off = back_off
        self._stop = stop

    def __len__(self) -> int:
        return sum(map(len, self.records.values()))

    async def retry(
        self,
        attempt: Callable[[int], Awaitable[None]],
        *,
        on: tuple[type[Exception], ...] = (Exception,),
        unless: tuple[type[Exception], ...] = (),
    ) -> None:
        """Calls `attempt` until it returns, with back-off between its failures.

        Args:
            attempt: Takes the number of the attempt, from 0.
            on: Failures that are tried again.
            unless: Exceptions to `on`, which are raised at once. `Halted` and `BatchAbandoned` always are.

        Raises:
            BatchAbandoned: An attempt has failed and the worker stops, or the partitions are about to move.
        """
        unless = (Halted, BatchAbandoned, *unless)
        try:
            return await attempt(0)  # Most batches succeed at once, and pay nothing for the back-off.
        except unless:
            raise
        except on as error:
            failure = error
        attempts = self._back_off.attempts(self._stop, self.assignment.leaving, on=on, unless=unless)
        async with contextlib.aclosing(attempts):
            async for each in attempts:
                with each:
                    if each.num == 1:
                        raise failure
                    return await attempt(each.num - 1)
        raise BatchAbandoned

    async def unless_leaving(self, work: Awaitable[object]) -> None:
        """Waits for the work, which ends when the partitions are about to move.

        Raises:
            BatchAbandoned: The partitions are about to move.
        """
        if not await unless_stopped(work, self.assignment.leaving):
            raise BatchAbandoned


class BatchHandler(Protocol):
    """What a worker does with its records. Only `handle` has to be written; the other methods do nothing by default."""

    async def handle(self, batch: Batch) -> Offsets:
        """Handles all records of a batch.

        Returns:
            The offsets to commit. They are dropped if the partitions have moved meanwhile. Empty if the handler commits
            for itself.

        Raises:
            BatchAbandoned: The records are left to the next owner of their partitions.
            Exception: Ends the loop. A new loop begins at the committed offsets.
        """
        ...

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        """The member has begun to join the group."""
        return None

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        """Sets the positions of a new assignment, and tells `commits` what is committed. By default positions are the
        committed offsets. The assignment may be revoked while this waits, so check `revoked` before setting any."""
        return None

    async def out_of_range(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Handles offsets that the partitions do not have. If this returns, `position` is called again."""
        return None

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        """Called after each poll, once its records are handled. `records` is their number.

        Returns:
            Further offsets to commit.
        """
        return NOTHING

    async def stopped(self) -> None:
        """The loop ends; the consumer is still a member of the group."""
        return None


class ConsumerLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of a consumer group, which hands its batches to a handler."""

    def __init__(
        self,
        kafka: KafkaSettings,
        subscription: Subscription,
        handler: BatchHandler,
        settings: IngestSettings,
    ) -> None:
        self._subscription = subscription
        self._handler = handler
        self._settings = settings
        self._back_off = batch_back_off(settings)
        self._consumer = AIOKafkaConsumer(
            **kafka.client_options(),
            group_id=subscription.group,
            enable_auto_commit=False,
            auto_offset_reset=subscription.start,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=max(100, settings.session_timeout_ms // 4),
            max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
            isolation_level="read_committed",
            partition_assignment_strategy=(subscription.assignor,),
        )
        self._commits = Commits(self._consumer, settings)
        self._assignment = Assignment()
        self._positioned: Assignment | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then finishes and commits the current batch.

        Raises:
            KafkaError, TimeoutError, OSError: Kafka fails. A new loop continues where this one ended.
            Exception: Any error of the handler.
        """
        self._consumer.subscribe(list(self._subscription.topics), listener=self)
        committing: asyncio.Task[None] | None = None
        try:
            if not await unless_stopped(self._consumer.start(), stop):
                return
            committing = asyncio.create_task(self._commits.run(), name="commit offsets")
            await self._handler.started(self._consumer)
            while not stop.is_set():
                if committing.done():
                    committing.result()  # Only a fault ends it. Without it, nothing would be committed any more.
                if (
                    await self._round(stop) < self._subscription.max_records
                    and self._subscription.pause_seconds
                ):
                    await unless_stopped(asyncio.sleep(self._subscription.pause_seconds), stop)
        finally:
            await self._close(committing)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called by aiokafka before it joins the group again, while it still sends heartbeats."""
        assignment = self._assignment
        assignment.leaving.set()
        try:
            async with asyncio.timeout(self._settings.revoke_timeout_ms / 1000):
                await self._idle.wait()
                await self._commits.commit()
        except (KafkaError, TimeoutError) as error:
            log.warning(
                "revoked_before_commit",
                group=self._subscription.group,
                partitions=len(revoked),
                cause=repr(error),
            )
        finally:
            # Whatever is raised: aiokafka logs it, and moves the partitions all the same.
            assignment.revoked = True
            self._commits.clear()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called by aiokafka while no heartbeats are sent, so it waits for nothing."""
        self._assignment = Assignment(frozenset(assigned))
        log.info(
            "assigned", group=self._subscription.group, partitions=sorted(tp.partition for tp in assigned)
        )

    async def _round(self, stop: asyncio.Event) -> int:
        """Polls once and handles the result. Returns the number of records."""
        assignment = self._assignment
        if self._positioned is not assignment and not assignment.revoked:
            seconds = _POSITION_SECONDS * (1 + len(assignment.partitions))
            positioning = self._handler.position(self._consumer, assignment, self._commits)
            if not await unless_stopped(with_timeout(positioning, seconds), stop) or assignment.revoked:
                return 0
            self._positioned = assignment
        try:
            records = await poll(self._consumer, self._settings.poll_ms, self._subscription.max_records)
        except NoOffsetForPartitionError:
            # The fetcher looked before the positions were set. Setting them again clears its error.
            self._positioned = None
            return 0
        except OffsetOutOfRangeError as error:
            if not assignment.revoked:
                await self._handler.out_of_range(self._consumer, error.args[0])
                self._positioned = None
            return 0
        if records and (assignment.revoked or assignment is not self._assignment):
            # The partitions moved during the poll: no positions were set for these records, or they are not ours.
            self._put_back(records)
            return 0
        if records:
            await self._handle(Batch(records, assignment, self._back_off, stop))
        count = sum(map(len, records.values()))
        offsets = await self._handler.after_poll(self._consumer, assignment, count)
        if not assignment.revoked:
            self._commits.mark(offsets)
        return count

    async def _handle(self, batch: Batch) -> None:
        self._idle.clear()
        try:
            offsets = await self._handler.handle(batch)
            if batch.assignment.revoked:
                metrics.ABANDONED.inc()
            else:
                self._commits.mark(offsets)
        except BatchAbandoned:
            metrics.ABANDONED.inc()
            self._put_back(batch.records)
        finally:
            self._idle.set()

    def _put_back(self, records: Records) -> None:
        """Seeks back, so that the records are polled again, for the partitions that this member still holds."""
        for tp in records.keys() & self._consumer.assignment():
            self._consumer.seek(tp, records[tp][0].offset)

    async def _close(self, committing: asyncio.Task[None] | None) -> None:
        try:
            if committing is not None:
                try:
                    with contextlib.suppress(KafkaError, TimeoutError):
                        await self._commits.commit()
                finally:
                    await cancel_and_wait([committing])
        finally:
            try:
                await self._handler.stopped()
            finally:
                await close_client(self._consumer)


def batch_back_off(settings: IngestSettings) -> BackOff:
    """Returns the pauses between the attempts at one batch. They never start over."""
    first = settings.backoff_ms / 1000
    return BackOff(initial=first, maximum=settings.backoff_max_ms / 1000, jitter=first, steady=float("inf"))
