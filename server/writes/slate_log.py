"""Writes sent slates to the topic `slates`, for training and for online quality."""

import asyncio
import time
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from ranking.query import ListRequest
from ranking.slate.ranked import Ranked
from recstream.storage.v1 import slate_pb2
from server import metrics
from server.settings import ServerSettings
from server.writes.log_writer import STOP_SECONDS
from topics.closing import close_client
from topics.errors import TopicsError
from topics.producer import start_producer
from topics.settings import KafkaSettings

log = structlog.get_logger()

_BATCH: Final = 200
_QUEUE_BYTES: Final = 64 << 20
"""Bytes of the queue at most. A slate of 20 items has 2 KB, one of 1,000 items 100 KB."""


class SlateLog:
    """A bounded queue, and a task that writes it to Kafka.

    No answer waits for this. While Kafka is down the queue fills up, and further slates are dropped and counted.

    Args:
        kafka: The connection to Kafka.
        settings: The size of the queue.
    """

    EXPECTED: Final = (KafkaError, TopicsError)

    def __init__(self, kafka: KafkaSettings, settings: ServerSettings) -> None:
        self._kafka = kafka
        self._queue: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue(settings.slate_queue)
        self._queued_bytes = 0

    def sent(self, request: ListRequest, ranked: Ranked) -> None:
        """Add a slate that was sent to the queue, unless the slate is empty."""
        if not ranked.slate.items:
            return
        record = slate_pb2.SlateRecord(
            user_id=request.user_id,
            slate=ranked.slate,
            surface=request.surface,
            domain=request.domain,
            experiments=request.experiments,
            sent_at_ms=int(time.time() * 1000),
            surfaces_version=ranked.surfaces_version,
        )
        if ranked.outputs is not None:
            record.actions.extend(ranked.outputs.actions)
            record.probabilities.extend(ranked.outputs.probabilities.ravel().tolist())
            record.predicted_values.extend(ranked.outputs.predicted_values.tolist())
        value = record.SerializeToString()
        if self._queue.full() or self._queued_bytes + len(value) > _QUEUE_BYTES:
            metrics.SLATES.labels("dropped").inc()
            return
        self._queue.put_nowait((request.user_id.encode(), value))
        self._queued_bytes += len(value)

    async def run(self) -> None:
        """Write the queue to Kafka, until cancelled. After a failure, call again. The queue is kept.

        Raises:
            EXPECTED: Kafka fails.
        """
        producer = await start_producer(self._kafka, linger_ms=50)
        try:
            await self._write(producer)
        finally:
            await close_client(producer, STOP_SECONDS)

    async def flush(self, seconds: float) -> None:
        """Wait until the queue is empty, for at most `seconds`. Slates that are left are counted as dropped."""
        try:
            async with asyncio.timeout(seconds):
                await self._queue.join()
        except TimeoutError:
            metrics.SLATES.labels("dropped").inc(self._queue.qsize())

    async def _write(self, producer: AIOKafkaProducer) -> None:
        topic = self._kafka.topics.slates
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            self._queued_bytes -= sum(len(value) for _, value in batch)
            sent = 0
            try:
                acknowledgements = []
                for key, value in batch:
                    try:
                        acknowledgements.append(await producer.send(topic, value, key))
                    except (
                        MessageSizeTooLargeError
                    ):  # It must not cost the others of its batch their records.
                        log.warning("slate_too_large", bytes=len(value))
                await asyncio.gather(*acknowledgements)
                sent = len(acknowledgements)
            finally:
                metrics.SLATES.labels("sent").inc(sent)
                metrics.SLATES.labels("dropped").inc(len(batch) - sent)
                for _ in batch:
                    self._queue.task_done()
