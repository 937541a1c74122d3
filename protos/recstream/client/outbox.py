"""Events on their way: sent in order, answered in order, sent again after a break."""

from __future__ import annotations

import asyncio
from collections import deque

from recstream.client.errors import ProtocolViolation, RecstreamError
from recstream.v1.interaction_pb2 import EventToken, Interaction


class Outbox:
    """Events that have no answer yet, a bounded number.

    After a break `rewind()` makes all of them due again. That is safe: an event that Kafka has already is
    known by its event id, and a repeat changes nothing.
    """

    def __init__(self, bound: int) -> None:
        self._waiting: deque[tuple[Interaction, asyncio.Future[EventToken]]] = deque()
        self._sent = 0
        self._room = asyncio.Semaphore(bound)
        self._due = asyncio.Event()
        self._failure: RecstreamError | None = None

    async def put(self, event: Interaction) -> asyncio.Future[EventToken]:
        """Queues an event, waiting while the outbox is full; the future gets its answer.

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
        """The next event to send, waiting for one."""
        while self._sent >= len(self._waiting):
            self._due.clear()
            await self._due.wait()
        event, _ = self._waiting[self._sent]
        self._sent += 1
        return event

    def rewind(self) -> None:
        """Makes every event without an answer due again, in order."""
        self._sent = 0

    def answer(self, answer: EventToken | RecstreamError) -> None:
        """Gives the oldest event that was sent its answer.

        Raises:
            ProtocolViolation: none was waiting for one.
        """
        if self._sent == 0:
            raise ProtocolViolation("the server answered an event that was not sent")
        _, future = self._waiting.popleft()
        self._sent -= 1
        self._room.release()
        _settle(future, answer)

    def close(self, reason: RecstreamError) -> None:
        """Refuses further events, and fails those without an answer. The first reason stays."""
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
        future.exception()  # seen: a waiter that is gone must not become a warning
    else:
        future.set_result(answer)
