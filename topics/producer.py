"""The producer: a record is acknowledged once all in-sync replicas have it."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from topics.closing import close_client
from topics.errors import KafkaUnreachable
from topics.layout import MAX_RECORD_BYTES
from topics.settings import KafkaSettings


async def start_producer(settings: KafkaSettings, **overrides: Any) -> AIOKafkaProducer:
    """Starts an idempotent producer with acks from all in-sync replicas and without linger. The caller closes it.

    Args:
        settings: The cluster.
        overrides: Arguments of aiokafka's producer that are added or replaced, such as `transactional_id`.

    Raises:
        KafkaUnreachable: Kafka does not answer within the request timeout of the settings.
    """
    options: dict[str, Any] = {
        **settings.client_options(),
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 0,
        "max_request_size": MAX_RECORD_BYTES,
        **overrides,
    }
    producer = AIOKafkaProducer(**options)
    try:
        async with asyncio.timeout(settings.request_timeout_ms / 1000):
            await producer.start()
    except BaseException as error:
        # Otherwise its background tasks would keep running.
        await close_client(producer)
        if isinstance(error, (KafkaError, OSError, TimeoutError)):
            raise KafkaUnreachable(settings.bootstrap, error or "no answer in time") from error
        raise
    return producer
