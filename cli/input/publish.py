"""Many records to a topic, with a bounded number in flight."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from aiokafka import AIOKafkaProducer

from readers.interactions.interactions import Interactions
from recstream.v1 import interaction_pb2, item_pb2

IN_FLIGHT = 5000

Pair = tuple[bytes, bytes]


async def publish(
    producer: AIOKafkaProducer, topic: str, records: Iterable[Pair], advance: Callable[[int], None]
) -> int:
    """Sends all records and waits until Kafka has them; calls `advance` with the number done since the
    last call. Returns how many there were. Raises what the producer raises."""
    count = 0
    waiting: list[asyncio.Future[object]] = []
    for key, value in records:
        waiting.append(await producer.send(topic, key=key, value=value))
        if len(waiting) >= IN_FLIGHT:
            count += await _settle(waiting, advance)
    return count + await _settle(waiting, advance)


async def _settle(waiting: "list[asyncio.Future[object]]", advance: Callable[[int], None]) -> int:
    await asyncio.gather(*waiting)
    done = len(waiting)
    waiting.clear()
    advance(done)
    return done


def interaction_records(rows: Interactions, domain: str) -> Iterator[Pair]:
    """Keyed by user, in the order of the rows."""
    for row in range(len(rows)):
        yield rows.user_ids[row].encode(), interaction(rows, row, domain).SerializeToString()


def interaction(rows: Interactions, row: int, domain: str) -> interaction_pb2.Interaction:
    """One row as the contract's message."""
    message = interaction_pb2.Interaction(
        event_id=rows.event_ids[row],
        user_id=rows.user_ids[row],
        item_id=rows.item_ids[row],
        action=rows.actions[row],
        event_time_ms=int(rows.time_ms[row]),
        domain=domain,
    )
    if (value := float(rows.values[row])) == value:  # not NaN
        message.value = value
    return message


def item_records(items: Iterable[item_pb2.Item]) -> Iterator[Pair]:
    """Keyed by item."""
    for item in items:
        yield item.item_id.encode(), item.SerializeToString()
