"""Unanswered events. They are sent in order, answered in order, and sent again after a break."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

import grpc.aio

from recstream.client.errors import ClientClosed, ProtocolViolation, RecstreamError, fresh
from recstream.v1.interaction_pb2 import Interaction

_Request = TypeVar("_Request", contravariant=True)

#: The token of an event that Kafka has, or why it was refused.
Answer = str | RecstreamError


class Writable(Protocol[_Request]):
    """A call that takes requests."""

    def write(self, request: _Request) -> Awaitable[None]:
        """Sends a request."""
        ...


class Outbox:
    """A bounded number of events that have no answer yet."""

    def __init__(self, bound: int) -> None:
        self._waiting: deque[tuple[Interaction, asyncio.Future[Answer]]] = deque()
        self._sent = 0
        self._room = asyncio.Semaphore(bound)
        self._due = asyncio.Event()
        self._failure: Exception | None = None

    async def put(self, event: Interaction) -> asyncio.Future[Answer]:
        """Queues an event. Waits while the outbox is full.

        Returns:
            A future for the event's answer. It fails if the outbox is closed.

        Raises:
            RecstreamError: the outbox was closed for this reason.
        """
        await self._room.acquire()
        if self._failure is not None:
            self._room.release()
            raise fresh(self._failure)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, answer))
        self._due.set()
        return answer

    async def send(
        self,
        call: Writable[_Request],
        wrap: Callable[[Interaction], _Request],
        opening: Iterable[_Request] = (),
    ) -> None:
        """Writes to a new call until it ends: its first messages, all unanswered events, and each new one.

        To send an event again is safe, because a repeated event is recognised by its id and changes nothing.

        Args:
            call: the call.
            wrap: makes the message for an event.
            opening: the first messages.
        """
        self._sent = 0
        try:
            for message in opening:
                await call.write(message)
            while True:
                await call.write(wrap(await self._next()))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call has ended; the reader gets its status

    async def _next(self) -> Interaction:
        while self._sent >= len(self._waiting):
            self._due.clear()
            await self._due.wait()
        event, _ = self._waiting[self._sent]
        self._sent += 1
        return event

    def answer(self, answer: Answer) -> None:
        """Passes the answer to the oldest sent event.

        Raises:
            ProtocolViolation: no sent event is unanswered.
        """
        if self._sent == 0:
            raise ProtocolViolation("the server answered an event that was not sent")
        _, future = self._waiting.popleft()
        self._sent -= 1
        self._room.release()
        if not future.done():  # its waiter was cancelled or timed out
            future.set_result(answer)

    def sender_ended(self, task: asyncio.Task[Exception]) -> None:
        """Refuses further events, and fails the unanswered ones, for the reason that the sender's task returned."""
        reason = ClientClosed("the stream of events has ended") if task.cancelled() else task.result()
        self._failure = reason
        while self._waiting:
            _, future = self._waiting.popleft()
            self._room.release()
            if not future.done():
                future.set_exception(fresh(reason))
                future.exception()  # marks it as retrieved, so that asyncio does not warn if no waiter is left
        self._sent = 0
