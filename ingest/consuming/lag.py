"""How far the worker of the profiles is behind, in records and in seconds, while it works and while it is stuck."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest import metrics
from ingest.consuming.with_timeout import with_timeout

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_ASK_SECONDS = 10.0


@dataclass(slots=True)
class _Part:
    """One partition. Times are Unix seconds.

    next: the first offset not applied. in_hand: when the first record of the batch in hand came to lie in Kafka; None:
    nothing is in hand. not_before: a moment before which no record lies that is not applied.
    """

    next: int
    not_before: float
    in_hand: float | None = None


class Lag:
    """Told what is taken in hand and what is applied; sets the two gauges.

    The seconds are those since the oldest record not applied came to lie in Kafka. Where it was not read yet they are
    counted from the last record that is applied, or from when there was none to apply: rather too much than too
    little. `clock` is in Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._parts: dict[int, _Part] = {}

    def start(self, positions: Mapping[int, int]) -> None:
        """These partitions are held, from these offsets on, and no others."""
        for partition in set(self._parts) - set(positions):
            _forget(partition)
        now = self._clock()
        self._parts = {partition: _Part(offset, now) for partition, offset in positions.items()}

    def holds(self, partition: int) -> bool:
        """Whether the partition is held and its start known."""
        return partition in self._parts

    def begin(self, partition: int, offset: int, record_ms: int) -> None:
        """A batch is in hand whose first record has this offset and timestamp."""
        if (part := self._parts.get(partition)) is not None:
            part.next, part.in_hand = offset, record_ms / 1000

    def applied(self, partition: int, next_offset: int, record_ms: int) -> None:
        """Everything before the offset is applied; the last of it has this timestamp."""
        if (part := self._parts.get(partition)) is not None:
            part.next, part.in_hand = next_offset, None
            part.not_before = record_ms / 1000

    def passed(self, partition: int, position: int) -> None:
        """The consumer is at this offset with nothing in hand: what lies before and is not applied, such as markers
        of transactions, is no record."""
        part = self._parts.get(partition)
        if part is not None and part.in_hand is None:
            part.next = max(part.next, position)

    def measure(self, ends: Mapping[int, int]) -> None:
        """Sets the gauges, by where the partitions end now."""
        now = self._clock()
        for partition, end in ends.items():
            if (part := self._parts.get(partition)) is None:
                continue
            behind = max(0, end - part.next)
            if not behind:
                part.not_before = now
            of = part.not_before if part.in_hand is None else part.in_hand
            metrics.LAG.labels(str(partition)).set(behind)
            metrics.LAG_SECONDS.labels(str(partition)).set(max(0.0, now - of) if behind else 0.0)

    def close(self) -> None:
        """No partitions are held any more."""
        self.start({})


async def watch_lag(consumer: AIOKafkaConsumer, lag: Lag) -> None:
    """Asks Kafka for the ends every second, until cancelled: whether anything is fetched or applied does not matter.
    While Kafka does not answer the gauges stay as they are."""
    while True:
        held = [tp for tp in consumer.assignment() if lag.holds(tp.partition)]
        try:
            ends = await with_timeout(consumer.end_offsets(held), _ASK_SECONDS) if held else {}
            for tp in _still(consumer, held, lag):
                lag.passed(tp.partition, await with_timeout(consumer.position(tp), _ASK_SECONDS))
        except (KafkaError, TimeoutError) as error:
            log.warning("lag_unknown", cause=repr(error))
        else:
            lag.measure({tp.partition: ends[tp] for tp in _still(consumer, held, lag)})
        await asyncio.sleep(_LOOK_SECONDS)


def _still(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], lag: Lag
) -> list[TopicPartition]:
    assigned = consumer.assignment()
    return [tp for tp in partitions if tp in assigned and lag.holds(tp.partition)]


def _forget(partition: int) -> None:
    for gauge in (metrics.LAG, metrics.LAG_SECONDS):
        gauge.remove_by_labels({"partition": str(partition)})
