"""Dead letters: records that cannot be used, kept with the reason. If no record can be used, ingest stops."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from cachetools import LRUCache

from ingest import metrics
from ingest.errors import DeadLetterNotWritten, TooManyDeadLetters
from profiles.interactions import KIND_HEADER

PAYLOAD_LIMIT: Final = 64 * 1024
DETAIL_LIMIT: Final = 500
_KEY_LIMIT: Final = 512
_KIND_LIMIT: Final = 64
_ORIGINS_CACHE_SIZE: Final = 10_000
_WRITE_SECONDS: Final = 5.0
_UNUSABLE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be used.

    Attributes:
        record: The record as it was read.
        topic_id: The id of its topic, 16 bytes.
        reason: Why it cannot be used: one of `metrics.LETTER_REASONS`.
        detail: The same in words.
    """

    record: ConsumerRecord
    topic_id: bytes
    reason: str
    detail: str

    @property
    def origin(self) -> bytes:
        """The letter's key, `topic-partition-offset`. Compaction removes repeats by it."""
        record = self.record
        return f"{record.topic}-{record.partition}-{record.offset}".encode()

    def value(self) -> bytes:
        """The payload as it came, cut to `PAYLOAD_LIMIT` bytes. It is never null, since compaction would delete the
        letter."""
        return (self.record.value or b"")[:PAYLOAD_LIMIT]

    def headers(self) -> list[tuple[str, bytes]]:
        """The reason, and where the record came from. Of the record's own headers only the kind is kept, so that
        headers do not pile up when a letter is sent again and fails again."""
        record = self.record
        found = [
            ("recstream-reason", self.reason.encode()),
            ("recstream-detail", self.detail.encode(errors="replace")[:DETAIL_LIMIT]),
            ("recstream-topic", record.topic.encode()),
            ("recstream-topic-id", self.topic_id.hex().encode()),
            ("recstream-partition", str(record.partition).encode()),
            ("recstream-offset", str(record.offset).encode()),
            ("recstream-record-time-ms", str(record.timestamp).encode()),
            ("recstream-key", (record.key or b"")[:_KEY_LIMIT]),
        ]
        if record.value is None:
            found.append(("recstream-null-value", b"true"))
        elif len(record.value) > PAYLOAD_LIMIT:
            found.append(("recstream-cut-from-bytes", str(len(record.value)).encode()))
        kind = next((value for name, value in record.headers if name == KIND_HEADER), None)
        if kind is not None:
            found.append((KIND_HEADER, kind[:_KIND_LIMIT]))
        return found


class DeadLetters:
    """Writes the dead letters of one source to their topic.

    Call `admit` before `write`. It raises before any letter is written if, for a minute, more records than the limit
    came and none of them could be used: then a setting or this version is at fault, and later records are better left
    in the log. A flood from one producer does not stop the events of the others.

    The origins of the last 10,000 letters are cached, so a batch that is tried again writes and counts none twice.
    After a restart a repeat has the same key.

    Args:
        producer: Writes the letters.
        topic: The dead-letter topic.
        source: The source topic without the prefix; the label of the metric.
        limit: Most letters since the last record that could be used, once that was a minute ago.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        source: str,
        limit: int,
        clock: Callable[[], float],
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._source = source
        self._limit = limit
        self._clock = clock
        self._last_usable = clock()
        self._since_usable = 0
        self._counted: LRUCache[bytes, None] = LRUCache(_ORIGINS_CACHE_SIZE)
        self._written: LRUCache[bytes, None] = LRUCache(_ORIGINS_CACHE_SIZE)

    def admit(self, letters: Sequence[DeadLetter], usable: int) -> None:
        """Counts the letters of a batch, and its other records, which can be used.

        Raises:
            TooManyDeadLetters: No record can be used, and they are more than the limit.
        """
        if usable:
            self._last_usable = self._clock()
            self._since_usable = 0
        new = [letter for letter in letters if letter.origin not in self._counted]
        if not new:
            return
        since_usable = 0 if usable else self._since_usable + len(new)
        if since_usable > self._limit and self._clock() - self._last_usable >= _UNUSABLE_SECONDS:
            raise TooManyDeadLetters(since_usable, new[-1].reason)
        self._since_usable = since_usable
        self._counted.update(dict.fromkeys(letter.origin for letter in new))

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Writes the letters and waits until Kafka has acknowledged all of them. Raises DeadLetterNotWritten."""
        new = [letter for letter in letters if letter.origin not in self._written]
        if not new:
            return
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                sent = [
                    await self._producer.send(
                        self._topic, letter.value(), key=letter.origin, headers=letter.headers()
                    )
                    for letter in new
                ]
                await asyncio.gather(*sent)
        except (KafkaError, TimeoutError) as error:
            raise DeadLetterNotWritten(self._topic, error or "no answer in time") from error
        self._written.update(dict.fromkeys(letter.origin for letter in new))
        for letter in new:
            metrics.DEAD_LETTERS.labels(self._source, letter.reason).inc()
