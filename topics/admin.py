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
    """Runs `work(client, seconds)` in a thread, and returns what it returns.

    Args:
        settings: The cluster.
        work: Bounds each of its waits by the seconds.
        timeout: Seconds; None: the request timeout of the settings.

    Raises:
        KafkaUnreachable: No broker answers.
        Exception: What `work` raises.
    """
    seconds = settings.request_timeout_ms / 1000 if timeout is None else timeout

    def call() -> T:
        try:
            return work(AdminClient(settings.admin_options()), seconds)
        except (KafkaException, FutureTimeout) as error:
            raise KafkaUnreachable(settings.bootstrap, error or "no answer in time") from error

    return await asyncio.to_thread(call)
