"""Calls to Kafka's admin interface, in a thread and with a timeout."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
    """Runs `work(client, seconds)` in a thread, and returns its result.

    Args:
        settings: The cluster.
        work: The work. It must limit each of its waits to the given seconds.
        timeout: Seconds for each wait. None: the request timeout of the settings.

    Raises:
        KafkaUnreachable: No broker answers.
        Exception: Any exception of `work`.
    """
    seconds = settings.request_timeout_ms / 1000 if timeout is None else timeout

    def call() -> T:
        try:
            return work(AdminClient(settings.admin_options()), seconds)
        except (KafkaException, FutureTimeout) as error:
            raise KafkaUnreachable(settings.bootstrap, error or "no answer in time") from error

    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    # Not the event loop's threads: a process that ends waits for them, and a broker that does not answer takes the
    # whole timeout.
    threading.Thread(target=run, name="kafka admin", daemon=True).start()
    return await asyncio.wrap_future(answer)
