"""Asking a consumer for records, in bounded time."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ingest.consuming.with_timeout import with_timeout

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]

_SPARE_SECONDS = 1.0


async def poll(consumer: AIOKafkaConsumer, timeout_ms: int, max_records: int) -> Records:
    """The records that are there, or come within `timeout_ms`; none where partitions are moving just now.

    While a group is joined again, which in an outage may take for ever, aiokafka's own timeout does not count. Raises
    KafkaError.
    """
    try:
        asked = consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        records: Records = await with_timeout(asked, timeout_ms / 1000 + _SPARE_SECONDS)
        return records
    except TimeoutError:
        return {}
