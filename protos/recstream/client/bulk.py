"""Records many events: a batch in one call, or any number over one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recstream.client.connection import Connection
from recstream.client.errors import RecstreamError, ServerError, fresh
from recstream.client.events import named
from recstream.client.exchange import Exchange
from recstream.client.outbox import Answer, Outbox
from recstream.client.reconnect import Reconnect
from recstream.client.status import from_status
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.interaction_service_pb2 import BatchRecordRequest, RecordResult, RecordStreamRequest


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of recording one event.

    Attributes:
        interaction: the event, with its id.
        token: for `after=` of calls for the event's user; None if it was refused.
        error: why it was refused; None if it was recorded.
    """

    interaction: Interaction
    token: str | None
    error: RecstreamError | None


if TYPE_CHECKING:
    import grpc.aio

    from recstream.v1.interaction_service_pb2 import RecordStreamResponse

    _Call = grpc.aio.StreamStreamCall[RecordStreamRequest, RecordStreamResponse]

_Queue = asyncio.Queue[tuple[Interaction, asyncio.Future[Answer]] | None]


async def record_batch(
    connection: Connection, interactions: Iterable[Interaction], timeout: float | None
) -> list[Recorded]:
    """Returns a `Recorded` for each event, in order; see `Client.record_batch`."""
    events = [named(event) for event in interactions]
    if not events:
        return []
    answer = await connection.call(
        connection.interactions.BatchRecord, BatchRecordRequest(interactions=events), timeout
    )
    if len(answer.results) != len(events):
        raise ServerError(f"the server answered {len(events)} events with {len(answer.results)} results")
    return [_recorded(event, _answer(result)) for event, result in zip(events, answer.results, strict=True)]


async def record_many(
    connection: Connection,
    interactions: Iterable[Interaction] | AsyncIterable[Interaction],
    *,
    in_flight: int,
    give_up_after: float | None,
    idle_timeout: float | None,
) -> AsyncGenerator[Recorded, None]:
    """Yields a `Recorded` for each event, in order; see `Client.record_many`."""
    outbox = Outbox(in_flight)
    order: _Queue = asyncio.Queue(maxsize=in_flight)
    exchange: Exchange[_Call, RecordStreamResponse] = Exchange(
        connection=connection,
        dial=lambda metadata: connection.interactions.RecordStream(metadata=metadata),
        receive=lambda response: outbox.answer(_answer(response.result)),
        send=lambda call: outbox.send(call, lambda event: RecordStreamRequest(interaction=event)),
        reconnect=Reconnect(replace(connection.backoff, give_up_after=give_up_after)),
        idle_timeout=idle_timeout,
    )
    sender = asyncio.create_task(exchange.run(), name="recstream-record-many")
    feeder = asyncio.create_task(_feed(interactions, outbox, order), name="recstream-feed")
    # However the sender ends, no event must wait for an answer that cannot come.
    sender.add_done_callback(outbox.sender_ended)
    try:
        while (sent := await order.get()) is not None:
            yield await _outcome(*sent)
        await feeder
    finally:
        feeder.cancel()
        sender.cancel()
        await asyncio.gather(feeder, sender, return_exceptions=True)
        del feeder  # an error of it holds this frame, which would be a cycle


async def _outcome(event: Interaction, answer: asyncio.Future[Answer]) -> Recorded:
    await asyncio.wait([answer])
    failure = answer.exception()
    if failure is not None:
        raise fresh(failure)  # the stream has ended, so the error is not about the event
    return _recorded(event, answer.result())


async def _feed(
    interactions: Iterable[Interaction] | AsyncIterable[Interaction], outbox: Outbox, order: _Queue
) -> None:
    try:
        if isinstance(interactions, AsyncIterable):
            async for event in interactions:
                await _send(event, outbox, order)
        else:
            for event in interactions:
                await _send(event, outbox, order)
    except Exception:
        await order.put(None)
        raise
    await order.put(None)


async def _send(event: Interaction, outbox: Outbox, order: _Queue) -> None:
    event = named(event)
    await order.put((event, await outbox.put(event)))


def _recorded(event: Interaction, answer: Answer) -> Recorded:
    if isinstance(answer, RecstreamError):
        return Recorded(event, None, answer)
    return Recorded(event, answer, None)


def _answer(result: RecordResult) -> Answer:
    kind = result.WhichOneof("result")
    if kind == "token":
        return result.token
    if kind == "refused":
        return from_status(result.refused)
    return ServerError("the server answered an event with neither a token nor a refusal")
