"""Records that cannot be used, kept with their reason, and the limit that stops a flood of them."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from ingest import metrics
from ingest.errors import DeadLetterNotWritten, TooManyDeadLetters
from topics.record_headers import KIND_HEADER

PAYLOAD_LIMIT: Final = 64 * 1024
DETAIL_LIMIT: Final = 500
_KEY_LIMIT: Final = 512
_KIND_LIMIT: Final = 64
_REMEMBERED: Final = 10_000
_WRITE_SECONDS: Final = 5.0
_WINDOW_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record with why it cannot be used. `reason` is a short name out of a fixed set, `detail` a sentence."""

    record: ConsumerRecord
    topic_id: bytes
    reason: str
    detail: str

    @property
    def origin(self) -> bytes:
        """`topic-partition-offset`: the key, by which a repeat is recognised and compacted away."""
        record = self.record
        return f"{record.topic}-{record.partition}-{record.offset}".encode()

    def value(self) -> bytes:
        """The payload as it came, cut. Never null: that would erase the letter from its compacted topic."""
        return (self.record.value or b"")[:PAYLOAD_LIMIT]

    def headers(self) -> list[tuple[str, bytes]]:
        """A fixed set. None of the record's own headers but its kind goes along, so that they do not pile up
        when a letter is sent again and fails again."""
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
    """Writes letters of one source to their topic.

    `admit` first: it counts the letters that are new and refuses the batch, before any is written, once more came
    in a minute than are taken for accidents. The origins of the last 10,000 are remembered, so that a batch that is
    tried again writes and counts none twice; after a restart a repeat has the same key.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        source: str,
        per_minute: int,
        clock: Callable[[], float],
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._source = source
        self._per_minute = per_minute
        self._clock = clock
        self._admitted: deque[tuple[float, int]] = deque()
        self._counted: OrderedDict[bytes, None] = OrderedDict()
        self._written: OrderedDict[bytes, None] = OrderedDict()

    def admit(self, letters: Sequence[DeadLetter]) -> None:
        """Raises TooManyDeadLetters."""
        new = [letter for letter in letters if letter.origin not in self._counted]
        if not new:
            return
        now = self._clock()
        while self._admitted and self._admitted[0][0] <= now - _WINDOW_SECONDS:
            self._admitted.popleft()
        if sum(count for _, count in self._admitted) + len(new) > self._per_minute:
            raise TooManyDeadLetters(self._per_minute, new[-1].reason)
        self._admitted.append((now, len(new)))
        _remember(self._counted, (letter.origin for letter in new))

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when Kafka has them all. Raises DeadLetterNotWritten."""
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
        _remember(self._written, (letter.origin for letter in new))
        for letter in new:
            metrics.DEAD_LETTERS.labels(self._source, letter.reason).inc()


def _remember(memory: OrderedDict[bytes, None], origins: Iterable[bytes]) -> None:
    for origin in origins:
        memory[origin] = None
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)
