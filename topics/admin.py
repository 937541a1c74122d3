"""Calls to Kafka's admin interface, off the event loop and bounded."""

import asyncio
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from topics.errors import KafkaUnreachable
from topics.settings import KafkaSettings

T = TypeVar("T")


async def with_admin(
    settings: KafkaSettings, work: Callable[[AdminClient, float], T], timeout: float | None
) -> T:
    """What `work(client, seconds)` returns, run in a thread. `work` bounds each of its waits by the seconds.

    Raises KafkaUnreachable when a broker does not answer, and whatever `work` raises.
    """
    seconds = settings.request_timeout_ms / 1000 if timeout is None else timeout

    def call() -> T:
        try:
            return work(AdminClient(settings.admin_options()), seconds)
        except (KafkaException, FutureTimeout) as error:
            raise KafkaUnreachable(settings.bootstrap, error or "no answer in time") from error

    return await asyncio.to_thread(call)
