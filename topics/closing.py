"""Closes Kafka clients, in bounded time and without losing a cancellation.

While aiokafka closes, it waits for tasks that it has cancelled, and drops every CancelledError. One that is meant for
the caller is lost, and the caller runs on.
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
    """Closes the client, for at most so many seconds. It raises no errors. A cancellation meanwhile is raised once the
    client is closed.
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
        # While Kafka is down it waits for what it still has to send. That is lost. Its tasks and sockets must be
        # closed.
        if client._sender is not None:
            await _within(asyncio.ensure_future(client._sender.close()), _END_SECONDS)
        await _within(asyncio.ensure_future(client.client.close()), _END_SECONDS)


async def _within(task: "asyncio.Future[None]", seconds: float) -> str:
    """Waits for the task. Returns why it did not end in time; empty if it did."""
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_END_SECONDS)
        return f"no answer within {seconds:g} s"
    if task.cancelled():
        return "cancelled from within"
    error = task.exception()
    return "" if error is None else repr(error)
