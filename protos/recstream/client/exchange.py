"""A bidirectional stream that sends events and receives answers. It is opened again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import grpc.aio

from recstream.client.errors import RecstreamError
from recstream.client.outbox import Outbox
from recstream.client.reading import read
from recstream.client.reconnect import Reconnect
from recstream.v1.interaction_pb2 import Interaction

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Exchange(Generic[_Request, _Response]):
    """Sends the events of an outbox over a call, and over a new call after each break.

    Args:
        dial: opens a call.
        opening: makes the first messages of a call.
        wrap: makes the message for an event.
        receive: called with each answer; a RecstreamError that it raises ends the call, but not the exchange.
        outbox: the events.
        reconnect: decides when to try again.
        idle_timeout: seconds of silence after which a call is given up; None: never.
    """

    def __init__(
        self,
        *,
        dial: Callable[[], grpc.aio.StreamStreamCall[_Request, _Response]],
        opening: Callable[[], list[_Request]],
        wrap: Callable[[Interaction], _Request],
        receive: Callable[[_Response], None],
        outbox: Outbox,
        reconnect: Reconnect,
        idle_timeout: float | None,
    ) -> None:
        self._dial = dial
        self._opening = opening
        self._wrap = wrap
        self._receive = receive
        self._outbox = outbox
        self._reconnect = reconnect
        self._idle_timeout = idle_timeout

    async def run(self) -> None:
        """Runs until it is cancelled.

        Raises:
            RecstreamError: the call failed, and another try cannot help. The outbox is closed with this error.
        """
        while True:
            try:
                await self._one_call()
            except RecstreamError as error:
                try:
                    await self._reconnect.pause(error)
                except RecstreamError as final:
                    self._outbox.close(final)
                    raise

    async def _one_call(self) -> None:
        call = self._dial()
        self._outbox.rewind()
        writer = asyncio.create_task(self._write(call), name="recstream-write")
        try:
            while True:
                response: _Response = await read(call, self._idle_timeout)
                self._reconnect.connected()
                self._receive(response)
        finally:
            call.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, call: grpc.aio.StreamStreamCall[_Request, _Response]) -> None:
        try:
            for message in self._opening():
                await call.write(message)
            while True:
                await call.write(self._wrap(await self._outbox.take()))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call has ended; the reader gets its status
