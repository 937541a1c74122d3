"""Unanswered events. They are sent in order, answered in order, and sent again after a break."""

from __future__ import annotations

import asyncio
from collections import deque

from recstream.client.errors import ProtocolViolation, RecstreamError
from recstream.v1.interaction_pb2 import EventToken, Interaction


class Outbox:
    """A bounded number of events that have no answer yet.

    After a break, `rewind()` makes all of them due again. This is safe, because a repeated event is recognised by its
    id and changes nothing.
    """

    def __init__(self, bound: int) -> None:
        self._waiting: deque[tuple[Interaction, asyncio.Future[EventToken]]] = deque()
        self._sent = 0
        self._room = asyncio.Semaphore(bound)
        self._due = asyncio.Event()
        self._failure: RecstreamError | None = None

    async def put(self, event: Interaction) -> asyncio.Future[EventToken]:
        """Queues an event. Waits while the outbox is full.

        Returns:
            A future for the event's answer.

        Raises:
            RecstreamError: the outbox was closed for this reason.
        """
        await self._room.acquire()
        if self._failure is not None:
            self._room.release()
            raise self._failure
        answer: asyncio.Future[EventToken] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, answer))
        self._due.set()
        return answer

    async def take(self) -> Interaction:
        """Waits for the next event to send, and returns it."""
        while self._sent >= len(self._waiting):
            self._due.clear()
            await self._due.wait()
        event, _ = self._waiting[self._sent]
        self._sent += 1
        return event

    def rewind(self) -> None:
        """Makes all unanswered events due again, in order."""
        self._sent = 0

    def answer(self, answer: EventToken | RecstreamError) -> None:
        """Passes the answer to the oldest sent event.

        Raises:
            ProtocolViolation: no sent event is unanswered.
        """
        if self._sent == 0:
            raise ProtocolViolation("the server answered an event that was not sent")
        _, future = self._waiting.popleft()
        self._sent -= 1
        self._room.release()
        _settle(future, answer)

    def close(self, reason: RecstreamError) -> None:
        """Refuses further events, and fails the unanswered ones. If it is called again, the first reason stays."""
        if self._failure is None:
            self._failure = reason
        while self._waiting:
            _, future = self._waiting.popleft()
            self._room.release()
            _settle(future, self._failure)
        self._sent = 0


def _settle(future: asyncio.Future[EventToken], answer: EventToken | RecstreamError) -> None:
    if future.done():  # its waiter was cancelled or timed out
        return
    if isinstance(answer, RecstreamError):
        future.set_exception(answer)
        future.exception()  # marks it as retrieved, so that asyncio does not warn if no waiter is left
    else:
        future.set_result(answer)
