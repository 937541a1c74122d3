"""Records many events: a batch in one call, or any number over one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass, replace

from recstream.client.connection import Connection
from recstream.client.errors import ClientClosed, RecstreamError, ServerError
from recstream.client.events import named
from recstream.client.exchange import Exchange
from recstream.client.outbox import Outbox
from recstream.client.reconnect import Reconnect
from recstream.client.status import from_status
from recstream.v1.interaction_pb2 import EventToken, Interaction
from recstream.v1.interaction_service_pb2 import BatchRecordRequest, RecordResult, RecordStreamRequest


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of recording one event.

    Attributes:
        interaction: the event, with its id.
        token: where Kafka keeps it; None if it was refused.
        error: why it was refused; None if it was recorded.
    """

    interaction: Interaction
    token: EventToken | None
    error: RecstreamError | None


_Queue = asyncio.Queue[tuple[Interaction, asyncio.Future[EventToken]] | None]


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
    exchange = Exchange(
        dial=lambda: connection.interactions.RecordStream(metadata=connection.metadata()),
        opening=list,
        wrap=lambda event: RecordStreamRequest(interaction=event),
        receive=lambda response: outbox.answer(_answer(response.result)),
        outbox=outbox,
        reconnect=Reconnect(replace(connection.backoff, give_up_after=give_up_after)),
        idle_timeout=idle_timeout,
    )
    sender = asyncio.create_task(exchange.run(), name="recstream-record-many")
    feeder = asyncio.create_task(_feed(interactions, outbox, order), name="recstream-feed")
    # However the sender ends, no event must wait for an answer that cannot come.
    sender.add_done_callback(lambda _: outbox.close(ClientClosed("the stream of events has ended")))
    try:
        while (sent := await order.get()) is not None:
            yield await _outcome(sender, *sent)
        await feeder
    finally:
        feeder.cancel()
        sender.cancel()
        await asyncio.gather(feeder, sender, return_exceptions=True)


async def _outcome(
    sender: asyncio.Task[None], event: Interaction, answer: asyncio.Future[EventToken]
) -> Recorded:
    try:
        return Recorded(event, await answer, None)
    except RecstreamError as error:
        if sender.done() and not sender.cancelled():
            failure = sender.exception()
            if failure is not None:
                raise failure from None  # the stream has ended, so the error is not about the event
        return Recorded(event, None, error)


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
    finally:
        await order.put(None)


async def _send(event: Interaction, outbox: Outbox, order: _Queue) -> None:
    event = named(event)
    await order.put((event, await outbox.put(event)))


def _recorded(event: Interaction, answer: EventToken | RecstreamError) -> Recorded:
    if isinstance(answer, RecstreamError):
        return Recorded(event, None, answer)
    return Recorded(event, answer, None)


def _answer(result: RecordResult) -> EventToken | RecstreamError:
    kind = result.WhichOneof("result")
    if kind == "token":
        return result.token
    if kind == "refused":
        return from_status(result.refused)
    return ServerError("the server answered an event with neither a token nor a refusal")
