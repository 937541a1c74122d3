"""The consumer lag of the interactions worker, in records and in seconds. It is measured even while the worker is
stuck."""

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
class _Partition:
    """One partition. Times are Unix seconds.

    Attributes:
        next: The first offset that is not applied.
        not_before: A lower bound of the timestamps of records that are not applied.
        in_hand: The timestamp of the first record of the current batch; None while there is no batch.
    """

    next: int
    not_before: float
    in_hand: float | None = None


class Lag:
    """Follows which records are polled and applied, and sets the two gauges.

    The lag in seconds is the age of the oldest record that is not applied. If that record has not been polled yet, the
    age counts from the last applied record, or from the last moment without lag. So it may be too large, but is never
    too small.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._parts: dict[int, _Partition] = {}

    def start(self, positions: Mapping[int, int]) -> None:
        """Sets the partitions that this process holds, with their first offsets."""
        for partition in set(self._parts) - set(positions):
            _remove_series(partition)
        now = self._clock()
        self._parts = {partition: _Partition(offset, now) for partition, offset in positions.items()}

    def holds(self, partition: int) -> bool:
        """Whether this process holds the partition and its first offset is known."""
        return partition in self._parts

    def begin(self, partition: int, offset: int, record_ms: int) -> None:
        """Notes that a batch begins. Its first record has this offset, and this timestamp in milliseconds."""
        if (part := self._parts.get(partition)) is not None:
            part.next, part.in_hand = offset, record_ms / 1000

    def applied(self, partition: int, next_offset: int, record_ms: int) -> None:
        """Notes that everything before the offset is applied. The last record has this timestamp in milliseconds."""
        if (part := self._parts.get(partition)) is not None:
            part.next, part.in_hand = next_offset, None
            part.not_before = record_ms / 1000

    def passed(self, partition: int, position: int) -> None:
        """Notes the consumer's offset. Unless a batch is being handled, unapplied offsets before it hold no records:
        a transaction's marker takes an offset, too."""
        part = self._parts.get(partition)
        if part is not None and part.in_hand is None:
            part.next = max(part.next, position)

    def measure(self, ends: Mapping[int, int]) -> None:
        """Sets the gauges, given the end offset of each partition."""
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
        """Removes the gauges of all partitions."""
        self.start({})


async def watch_lag(consumer: AIOKafkaConsumer, lag: Lag) -> None:
    """Asks Kafka for the end offsets every second until it is cancelled, even while no record is fetched or applied.
    While Kafka does not answer, the gauges keep their values."""
    while True:
        held = [tp for tp in consumer.assignment() if lag.holds(tp.partition)]
        try:
            ends = await with_timeout(consumer.end_offsets(held), _ASK_SECONDS) if held else {}
            for tp in _still_held(consumer, held, lag):
                lag.passed(tp.partition, await with_timeout(consumer.position(tp), _ASK_SECONDS))
        except (KafkaError, TimeoutError) as error:
            log.warning("lag_unknown", cause=repr(error))
        else:
            lag.measure({tp.partition: ends[tp] for tp in _still_held(consumer, held, lag)})
        await asyncio.sleep(_LOOK_SECONDS)


def _still_held(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], lag: Lag
) -> list[TopicPartition]:
    assigned = consumer.assignment()
    return [tp for tp in partitions if tp in assigned and lag.holds(tp.partition)]


def _remove_series(partition: int) -> None:
    for gauge in (metrics.LAG, metrics.LAG_SECONDS):
        gauge.remove_by_labels({"partition": str(partition)})
