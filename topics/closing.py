"""Closes Kafka clients, in bounded time and without losing a cancellation.

While aiokafka closes, it waits for tasks that it has cancelled, and swallows every CancelledError, also one that is
meant for the caller. The caller would then continue to run.
"""

import asyncio
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

log = structlog.get_logger()

Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient

_END_SECONDS = 5.0


async def close_client(client: Client, seconds: float = 10.0) -> None:
    """Closes the client, for at most `seconds`. It raises no errors. A cancellation meanwhile is raised once the client
    is closed.
    """
    closing = asyncio.create_task(_close(client, seconds))
    cancelled: asyncio.CancelledError | None = None
    while not closing.done():
        try:
            await asyncio.wait({closing})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _close(client: Client, seconds: float) -> None:
    admin = isinstance(client, AIOKafkaAdminClient)
    cause = await _within(asyncio.ensure_future(client.close() if admin else client.stop()), seconds)
    if not cause:
        return
    log.warning("client_not_closed_cleanly", client=type(client).__name__, cause=cause)
    if isinstance(client, AIOKafkaProducer):
        # While Kafka is down, the producer waits for records that it could not send. They are lost, but its tasks and
        # sockets must be closed.
        if client._sender is not None:
            await _within(asyncio.ensure_future(client._sender.close()), _END_SECONDS)
        await _within(asyncio.ensure_future(client.client.close()), _END_SECONDS)


async def _within(task: "asyncio.Future[None]", seconds: float) -> str:
    """Waits for the task. Returns why it failed or did not end in time, or an empty string."""
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_END_SECONDS)
        return f"no answer within {seconds:g} s"
    if task.cancelled():
        return "cancelled from within"
    error = task.exception()
    return "" if error is None else repr(error)
