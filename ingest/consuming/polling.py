"""Polls a consumer, in bounded time."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ingest.consuming.with_timeout import with_timeout

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]

_SPARE_SECONDS = 1.0


async def poll(consumer: AIOKafkaConsumer, timeout_ms: int, max_records: int) -> Records:
    """Polls for at most `timeout_ms` plus about a second.

    aiokafka does not keep its own timeout while it joins the group again, which may take forever in an outage.

    Returns:
        At most `max_records` records, by partition. None while partitions move.

    Raises:
        KafkaError: Kafka fails.
    """
    try:
        polling = consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        records: Records = await with_timeout(polling, timeout_ms / 1000 + _SPARE_SECONDS)
        return records
    except TimeoutError:
        return {}
