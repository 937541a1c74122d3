"""Sends events and receives lists on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Unpack

from recstream.client.connection import Connection
from recstream.client.errors import ClientClosed, DeadlineExceeded, ProtocolViolation, RecstreamError
from recstream.client.events import ActionFacts, EventFacts, impression, interaction, undo
from recstream.client.exchange import Exchange
from recstream.client.frames import FrameReader
from recstream.client.lists import Recommendations
from recstream.client.outbox import Outbox
from recstream.client.reconnect import OnRetry, Reconnect
from recstream.client.status import from_status
from recstream.v1.interaction_pb2 import EventToken, Interaction
from recstream.v1.recommendation_service_pb2 import (
    SessionRequest,
    SessionResponse,
    StreamRecommendationsRequest,
)

#: Most causes that a list takes over from an unread list that it replaces.
CAUSES_KEPT = 256


class Session(AsyncIterator[Recommendations]):
    """A user's visit: `record()` what the user does, and iterate over the lists to show.

    A task of its own reads the stream, so events are answered even if you do not iterate. A list that is unread when
    the next one comes is dropped, and the next one takes over its causes. A broken stream is opened again as in
    `stream()`, and events without an answer are sent again.

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
        self._connection = connection
        self._request = request
        self._reader = FrameReader()
        self._outbox = Outbox(in_flight)
        self._reconnect = Reconnect(connection.backoff, on_retry)
        self._idle_timeout = idle_timeout
        self._unread: Recommendations | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def latest(self) -> Recommendations | None:
        """The newest list, even if it is unread."""
        return self._reader.held

    @property
    def reconnects(self) -> int:
        """How many times the session was opened again after a break."""
        return self._reconnect.count

    async def record(
        self, item_id: str, action: str, *, timeout: float | None = None, **facts: Unpack[ActionFacts]
    ) -> EventToken:
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
        return await self._record(interaction(self._request.user_id, item_id, action, **facts), timeout)

    async def record_impression(
        self,
        item_ids: Iterable[str],
        *,
        first_position: int = 0,
        timeout: float | None = None,
        **facts: Unpack[EventFacts],
    ) -> EventToken:
        """Records that the session's user saw items of a list, as `Client.record_impression` does."""
        event = impression(self._request.user_id, item_ids, first_position=first_position, **facts)
        return await self._record(event, timeout)

    async def undo(self, event_id: str, *, timeout: float | None = None) -> EventToken:
        """Undoes an event of the session's user. `event_id` is the id that it was recorded with."""
        return await self._record(undo(self._request.user_id, event_id), timeout)

    async def _record(self, event: Interaction, timeout: float | None) -> EventToken:
        seconds = self._connection.timeout if timeout is None else timeout
        self._running()
        try:
            async with asyncio.timeout(seconds):
                return await (await self._outbox.put(event))
        except TimeoutError:
            raise DeadlineExceeded(f"event {event.event_id} was not answered within {seconds:g} s") from None

    async def __anext__(self) -> Recommendations:
        task = self._running()
        while self._unread is None:
            if task.done():
                self._raise_end(task)
            self._changed.clear()
            await self._changed.wait()
        unread, self._unread = self._unread, None
        return unread

    def _running(self) -> asyncio.Task[None]:
        if self._task is None:
            raise ClientClosed("a session can only be used inside `async with`")
        return self._task

    def _raise_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            raise StopAsyncIteration
        raise error

    def _receive(self, response: SessionResponse) -> None:
        kind = response.WhichOneof("kind")
        if kind == "recorded":
            self._outbox.answer(response.recorded)
        elif kind == "refused":
            self._outbox.answer(from_status(response.refused))
        elif kind == "frame":
            recommendations = self._reader.read(response.frame)
            if recommendations is not None:
                self._keep(recommendations)

    def _keep(self, newest: Recommendations) -> None:
        if self._unread is not None:
            causes = (*self._unread.causes, *newest.causes)
            newest = replace(newest, causes=causes[-CAUSES_KEPT:])
        self._unread = newest
        self._changed.set()

    def _opening(self) -> list[SessionRequest]:
        self._reader.connected()
        self._request.resume_token = self._reader.resume_token
        return [SessionRequest(open=self._request)]

    @staticmethod
    def _wrap(event: Interaction) -> SessionRequest:
        return SessionRequest(interaction=event)

    async def __aenter__(self) -> Session:
        if self._task is not None:
            raise ProtocolViolation("a session can be entered only once; make a new one")
        exchange = Exchange(
            dial=lambda: self._connection.recommendations.Session(metadata=self._connection.metadata()),
            opening=self._opening,
            wrap=self._wrap,
            receive=self._receive,
            outbox=self._outbox,
            reconnect=self._reconnect,
            idle_timeout=self._idle_timeout,
        )
        self._task = asyncio.create_task(exchange.run(), name="recstream-session")
        self._task.add_done_callback(self._ended)
        return self

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._outbox.close(
            error if isinstance(error, RecstreamError) else ClientClosed("the session has ended")
        )
        self._changed.set()

    async def aclose(self) -> None:
        """Cancels the call. Events without an answer fail with ClientClosed. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
