"""Sends many records to a topic, with a bounded number in flight."""

import asyncio
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaProducer

IN_FLIGHT = 5000

Record = tuple[bytes, bytes | None]
"""Key and value. A value of None is a tombstone."""


async def send_all(
    producer: AIOKafkaProducer,
    topic: str,
    records: Iterable[Record],
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Sends records and waits until Kafka has acknowledged all of them.

    Args:
        producer: A started producer. Its `linger_ms` decides how well records are batched.
        topic: The full name of the topic.
        records: The records. They are consumed while sending, so they may come from a generator.
        advance: Called with the number of records acknowledged since the last call.

    Returns:
        The number of records.

    Raises:
        KafkaError: The producer failed.
    """
    count = 0
    in_flight: list[asyncio.Future[object]] = []
    for key, value in records:
        in_flight.append(await producer.send(topic, key=key, value=value))
        if len(in_flight) >= IN_FLIGHT:
            count += await _acknowledged(in_flight, advance)
    return count + await _acknowledged(in_flight, advance)


async def _acknowledged(in_flight: "list[asyncio.Future[object]]", advance: Callable[[int], None]) -> int:
    await asyncio.gather(*in_flight)
    count = len(in_flight)
    in_flight.clear()
    advance(count)
    return count
