"""The way of an event: poll, check, apply, commit last."""

import asyncio
import random
import time
from collections.abc import Mapping

import structlog

from ingest import metrics
from ingest.consuming.consumer import InteractionsConsumer
from ingest.consuming.dead_letters import DeadLetters
from ingest.consuming.polling import Records
from ingest.consuming.records import Batch, read_batch
from ingest.consuming.traced import by_user
from ingest.errors import BatchFailed, StoreChanged
from ingest.profiles.apply import Apply
from ingest.settings import IngestSettings
from profiles.actions import ProfileSettings
from telemetry.health import Health
from telemetry.tracing.spans import Followed, SpanKind

log = structlog.get_logger()

COMPONENT = "interactions"


class Interactions:
    """Turns records into profiles, a batch at a time, until it is cancelled or halted.

    A batch is kept until all of it is applied and all its dead letters are acknowledged; only then its offsets
    are committed. What cannot be applied is tried again with back-off, and never skipped.
    """

    def __init__(
        self,
        consumer: InteractionsConsumer,
        apply: Apply,
        dead_letters: DeadLetters,
        health: Health,
        topic_id: bytes,
        store_identity: str,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
    ) -> None:
        self._consumer = consumer
        self._apply = apply
        self._dead_letters = dead_letters
        self._health = health
        self._topic_id = topic_id
        self._identity = store_identity
        self._seen = store_identity
        self._profile_settings = profile_settings
        self._settings = settings
        self._failing = False
        self._epoch = -1

    def store_is(self, identity: str) -> None:
        """Called by whoever watches the store: who is behind it now."""
        self._seen = identity

    async def run(self, stop: asyncio.Event) -> None:
        """Returns after the batch in hand once `stop` is set.

        Raises Halted; StoreChanged and KafkaError, which a new consumer cures: it begins where the store may have
        lost something.
        """
        while not stop.is_set():
            if self._seen != self._identity:
                raise StoreChanged(self._seen)
            epoch, polled = await self._consumer.poll()
            if epoch != self._epoch:
                self._epoch = epoch
                self._apply.forget()
            if polled:
                with self._consumer.working(polled):
                    await self._finish(epoch, polled, stop)

    async def _finish(self, epoch: int, polled: Records, stop: asyncio.Event) -> None:
        started = time.perf_counter()
        batch = read_batch(polled, self._topic_id, self._profile_settings)
        self._dead_letters.admit(batch.letters)
        origins = [one.origin for one in batch.traced]
        with Followed("process interactions", SpanKind.CONSUMER, origins) as followed:
            if not await self._finished(batch, by_user(batch.traced, followed), epoch, stop):
                followed.failed("abandoned")
                return
        self._consumer.mark(epoch, polled)
        self._succeeded()
        metrics.RECORDS_OF["refused"].inc(len(batch.letters))
        metrics.BATCH_RECORDS.observe(sum(map(len, polled.values())))
        metrics.STAGE["batch"].observe(time.perf_counter() - started)
        metrics.RECORD_AGE_SECONDS.observe(max(0.0, time.time() - batch.oldest_ms / 1000))

    async def _finished(
        self, batch: Batch, traceparents: Mapping[str, str], epoch: int, stop: asyncio.Event
    ) -> bool:
        """Tries until the batch is applied; False where it was abandoned instead."""
        attempt = 0
        while True:
            try:
                await self._try(batch, traceparents)
                return True
            except StoreChanged:
                raise
            except Exception as error:  # a fault of ours too: the batch stays, and says so
                self._failed(error, attempt)
            if await self._pause(attempt, epoch, stop):
                self._consumer.forget(epoch)
                return False
            attempt += 1

    async def _try(self, batch: Batch, traceparents: Mapping[str, str]) -> None:
        if batch.records:
            await self._apply(batch.records, self._identity, traceparents)
        if batch.letters:
            await self._dead_letters.write(batch.letters)

    async def _pause(self, attempt: int, epoch: int, stop: asyncio.Event) -> bool:
        """Waits before the next try; True if the batch is to be abandoned instead."""
        longest = min(self._settings.backoff_max_ms, self._settings.backoff_ms * 2 ** min(attempt, 20)) / 1000
        ends = [asyncio.create_task(event.wait()) for event in (stop, self._consumer.leaving)]
        try:
            await asyncio.wait(
                ends, timeout=longest * random.uniform(0.5, 1.0), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for end in ends:
                end.cancel()
        return stop.is_set() or self._consumer.leaving.is_set() or self._consumer.epoch != epoch

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
