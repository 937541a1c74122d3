"""Sends events and receives lists on one stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from recstream.client import arguments
from recstream.client.connection import Connection
from recstream.client.deadline import within
from recstream.client.errors import (
    ClientClosed,
    DeadlineExceeded,
    ProtocolViolation,
    RecstreamError,
    fresh,
)
from recstream.client.events import ActionFacts, EventFacts, impression, interaction, undo
from recstream.client.exchange import Exchange
from recstream.client.lists import Recommendations
from recstream.client.mailbox import Mailbox
from recstream.client.outbox import Answer, Outbox
from recstream.client.reconnect import OnRetry, Reconnect
from recstream.client.status import from_status
from recstream.client.subscription import Subscription
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.recommendation_service_pb2 import (
    SessionRequest,
    SessionResponse,
    StreamRecommendationsRequest,
)

if TYPE_CHECKING:
    import grpc.aio

    _Call = grpc.aio.StreamStreamCall[SessionRequest, SessionResponse]


class Session(AsyncIterator[Recommendations]):
    """A user's visit: `record()` what the user does, and iterate over the lists to show.

    A task of its own reads the stream, so events are answered even if you do not iterate. A list that is unread when
    the next one comes is dropped, and the next one takes over its causes. A broken stream is opened again as in
    `stream()`, and events without an answer are sent again. A session that is dropped without leaving its `async with`
    cancels its call and warns with ResourceWarning.

    Example:
        async with client.session("ann", count=10) as session:
            await session.record("tt0114709", "click")
            async for recommendations in session:
                show(recommendations)
    """

    def __init__(
        self,
        connection: Connection,
        request: StreamRecommendationsRequest,
        *,
        in_flight: int,
        idle_timeout: float | None,
        on_retry: OnRetry | None,
    ) -> None:
        mailbox = Mailbox()
        outbox = Outbox(in_flight)

        def dial(metadata: grpc.aio.Metadata | None) -> _Call:
            return connection.recommendations.Session(metadata=metadata)

        async def send(call: _Call) -> None:
            request.resume_token = mailbox.connected()
            await outbox.send(call, _wrap, opening=[SessionRequest(open=request)])

        def receive(response: SessionResponse) -> None:
            kind = response.WhichOneof("kind")
            if kind == "recorded":
                outbox.answer(response.recorded)
            elif kind == "refused":
                outbox.answer(from_status(response.refused))
            elif kind == "frame":
                mailbox.receive(response.frame)
                # As in RecommendationStream: the first frame has answered for them.
                request.ClearField("after")
                request.ClearField("after_event_ids")

        self._user_id = request.user_id
        self._timeout = connection.timeout
        self._mailbox = mailbox
        self._outbox = outbox
        self._reconnect = Reconnect(connection.backoff, on_retry)
        exchange = Exchange(
            connection=connection,
            dial=dial,
            receive=receive,
            reconnect=self._reconnect,
            idle_timeout=idle_timeout,
            send=send,
        )
        self._subscription = Subscription(f"session of {request.user_id!r}", exchange, mailbox)
        self._entered = False

    @property
    def latest(self) -> Recommendations | None:
        """The newest list, even if it is unread."""
        return self._mailbox.newest

    @property
    def reconnects(self) -> int:
        """How many times the session was opened again after a break."""
        return self._reconnect.count

    async def record(
        self, item_id: str, action: str, *, timeout: float | None = None, **facts: Unpack[ActionFacts]
    ) -> str:
        """Records an action of the session's user. Returns when Kafka has it.

        Args:
            item_id: the item that was acted on.
            action: one of the server's configured actions.
            timeout: seconds to wait for the answer; None: the client's default.
            facts: see `ActionFacts` and `EventFacts`.

        Raises:
            InvalidRequest: the event is refused; the session goes on.
            DeadlineExceeded: no answer came in time; the event may still be recorded.
            RecstreamError: the session has ended for this reason.
        """
        return await self._record(interaction(self._user_id, item_id, action, **facts), timeout)

    async def record_impression(
        self,
        item_ids: Iterable[str],
        *,
        first_position: int = 0,
        timeout: float | None = None,
        **facts: Unpack[EventFacts],
    ) -> str:
        """Records that the session's user saw items of a list, as `Client.record_impression` does."""
        event = impression(self._user_id, item_ids, first_position=first_position, **facts)
        return await self._record(event, timeout)

    async def undo(self, event_id: str, *, timeout: float | None = None) -> str:
        """Undoes an event of the session's user. `event_id` is the id that it was recorded with."""
        return await self._record(undo(self._user_id, event_id), timeout)

    async def _record(self, event: Interaction, timeout: float | None) -> str:
        self._check_entered()
        seconds = arguments.timeout(timeout, self._timeout)
        answer = await within(seconds, self._answered(event))
        if answer is None:
            raise DeadlineExceeded(f"event {event.event_id} was not answered within {seconds:g} s")
        if isinstance(answer, RecstreamError):
            raise fresh(answer)
        return answer

    async def _answered(self, event: Interaction) -> Answer:
        return await (await self._outbox.put(event))

    async def __anext__(self) -> Recommendations:
        self._check_entered()
        recommendations = await self._subscription.next()
        if recommendations is None:
            raise StopAsyncIteration
        return recommendations

    def _check_entered(self) -> None:
        if not self._entered:
            raise ClientClosed("a session can only be used inside `async with`")

    async def __aenter__(self) -> Session:
        if self._entered:
            raise ProtocolViolation("a session can be entered only once; make a new one")
        self._entered = True
        self._subscription.start().add_done_callback(self._outbox.sender_ended)
        return self

    async def aclose(self) -> None:
        """Cancels the call. Events without an answer fail with ClientClosed. May be called twice."""
        await self._subscription.aclose()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _wrap(event: Interaction) -> SessionRequest:
    return SessionRequest(interaction=event)
