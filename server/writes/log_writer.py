"""Appends records to the log. A record has its position once Kafka has acknowledged it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata
from opentelemetry.trace import Span, StatusCode

from profiles.folding.events import Position
from recstream.v1.error_reason_pb2 import ERROR_REASON_KAFKA_UNAVAILABLE
from server import metrics
from server.errors import InvalidRequest, NotAvailable, Violation
from server.settings import ServerSettings
from server.writes.topic_state import TopicState, topic_states
from telemetry.tracing.spans import SpanKind, on, start
from telemetry.tracing.w3c import TRACEPARENT, write
from topics.closing import close_client
from topics.errors import TopicsError
from topics.producer import start_producer
from topics.settings import KafkaSettings

log = structlog.get_logger()
Headers = Sequence[tuple[str, bytes]]
_RETRY_MS: Final = 1_000
STOP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Appending:
    """A record that was passed to the producer. `LogWriter.position` waits for its position in the log."""

    topic: str
    acknowledged: "asyncio.Future[RecordMetadata]"


class LogWriter:
    """The idempotent producer of this process, and the ids of the topics that it writes to.

    Args:
        kafka: The connection to Kafka.
        settings: How often the ids are read.
    """

    def __init__(self, kafka: KafkaSettings, settings: ServerSettings) -> None:
        self._kafka = kafka
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._started = asyncio.Event()
        self._broken = asyncio.Event()
        self._states: dict[str, TopicState] = {}
        self._asking = asyncio.Lock()

    async def start(
        self, topic: str, key: bytes, value: bytes | None, until: float, headers: Headers = ()
    ) -> Appending:
        """Pass a record to the producer, after all earlier ones.

        A record whose acknowledgement does not come may still arrive. If it is sent again, its event id makes it count
        once.

        Args:
            topic: The topic's name.
            key: The record's key.
            value: The record's value. None: the record removes the key from a compacted topic.
            until: When to stop waiting for Kafka, on `time.monotonic()`.
            headers: The record's headers.

        Raises:
            InvalidRequest: The record is too large for the topic.
            NotAvailable: Kafka does not answer.
        """
        span, headers = _publishing(topic, headers)
        try:
            future = await self._send(topic, key, value, until, headers)
        except BaseException as error:
            _end(span, type(error).__name__)
            raise
        future.add_done_callback(_seen if span is None else partial(_acknowledged, span))
        return Appending(topic, future)

    async def _send(
        self, topic: str, key: bytes, value: bytes | None, until: float, headers: Headers
    ) -> "asyncio.Future[RecordMetadata]":
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._started.wait()
                if self._producer is None:
                    raise _unavailable("Kafka does not answer")
                sent: asyncio.Future[RecordMetadata] = await self._producer.send(
                    topic, value, key, headers=list(headers)
                )
                return sent
        except MessageSizeTooLargeError as error:
            raise InvalidRequest([Violation("", "is larger than a record may be")]) from error
        except (TimeoutError, KafkaError) as error:
            self._judge(topic, error)
            raise _unavailable("Kafka does not answer") from error

    async def position(self, appending: Appending, until: float) -> Position:
        """Return the position of the record in the log, once Kafka has acknowledged it.

        Raises:
            NotAvailable: The acknowledgement did not come in time.
        """
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                # Shielded, because the future belongs to the producer.
                where = await asyncio.shield(appending.acknowledged)
                state = self._states.get(appending.topic)
                if state is None or where.offset < state.ends.get(where.partition, 0):
                    # The topic was recreated after its id was read.
                    state = (await self.states([appending.topic], until))[appending.topic]
        except (TimeoutError, KafkaError) as error:
            self._judge(appending.topic, error)
            raise _unavailable(
                "Kafka has not acknowledged the record in time; it may still arrive"
            ) from error
        metrics.RECORDED.labels(self._label(appending.topic), "ok").inc()
        return Position(state.topic_id, where.partition, where.offset)

    async def append(
        self, topic: str, key: bytes, value: bytes, until: float, headers: Headers = ()
    ) -> Position:
        """Pass a record to the producer, and wait for its position. See `start` and `position`."""
        return await self.position(await self.start(topic, key, value, until, headers), until)

    def state(self, topic: str) -> TopicState | None:
        """Return the state of a topic as it was read last. None: it was not read yet."""
        return self._states.get(topic)

    async def states(self, topics: list[str], until: float) -> dict[str, TopicState]:
        """Read the present state of topics. Return it by name.

        Raises:
            NotAvailable: Kafka does not answer, or a topic does not exist.
        """
        try:
            async with self._asking:
                left = max(0.05, until - time.monotonic())
                states = await topic_states(self._kafka, topics, timeout=left)
        except TopicsError as error:
            raise _unavailable("Kafka does not describe its topics") from error
        self._states.update(states)
        return states

    async def keep_producer(self) -> None:
        """Keep a producer running, until cancelled. Without one, records are refused.

        Raises:
            TopicsError: Kafka does not answer. Call again.
        """
        while True:
            producer = await start_producer(self._kafka)
            self._broken.clear()
            self._producer = producer
            self._started.set()
            try:
                await self._broken.wait()
            finally:
                self._started.clear()
                self._producer = None
                await close_client(producer, STOP_SECONDS)

    async def keep_states(self) -> None:
        """Keep the ids of the topics up to date, until cancelled. Kafka may be down, now or later."""
        topics = self._kafka.topics
        while True:
            try:
                await self.states([topics.interactions, topics.item_changes], time.monotonic() + 3)
            except NotAvailable as error:
                log.warning("topics_unknown", cause=str(error.__cause__))
            await asyncio.sleep(self._settings.topic_check_seconds)

    def _judge(self, topic: str, error: Exception) -> None:
        metrics.RECORDED.labels(self._label(topic), "failed").inc()
        if isinstance(error, KafkaError) and not isinstance(error, KafkaTimeoutError):
            # An idempotent producer cannot recover from a gap in its sequence, so a new one is started.
            log.warning("producer_restarts", cause=repr(error))
            self._broken.set()

    def _label(self, topic: str) -> str:
        return topic.removeprefix(self._kafka.topic_prefix)


def _unavailable(message: str) -> NotAvailable:
    return NotAvailable(ERROR_REASON_KAFKA_UNAVAILABLE, message, _RETRY_MS)


def _seen(future: "asyncio.Future[RecordMetadata]") -> None:
    if not future.cancelled():
        future.exception()  # Retrieved here, because the caller may be gone. asyncio would log it otherwise.


def _publishing(topic: str, headers: Headers) -> tuple[Span | None, Headers]:
    """The span of sending a record, and its headers, with which the record's readers continue the trace."""
    if not on():
        return None, headers
    attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
    }
    span = start(f"send {topic}", SpanKind.PRODUCER, attributes)
    if span is None:
        return None, headers
    return span, [*headers, (TRACEPARENT, write(span.get_span_context()).encode())]


def _acknowledged(span: Span, future: "asyncio.Future[RecordMetadata]") -> None:
    """End the span of a record once Kafka has acknowledged it, even if no caller waits for it."""
    _seen(future)
    if future.cancelled():
        _end(span, "CancelledError")
    elif (error := future.exception()) is not None:
        _end(span, type(error).__name__)
    else:
        span.set_attribute("messaging.destination.partition.id", str(future.result().partition))
        span.set_attribute("messaging.kafka.offset", future.result().offset)
        _end(span)


def _end(span: Span | None, failed: str = "") -> None:
    if span is None:
        return
    if failed:
        span.set_attribute("error.type", failed)
        span.set_status(StatusCode.ERROR)
    span.end()
