"""A stream of answers, and of events if it sends any. It is opened again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import grpc.aio

from recstream.client.connection import Connection
from recstream.client.deadline import within
from recstream.client.errors import RecstreamError, Unavailable, fresh
from recstream.client.reconnect import Reconnect

_Call = TypeVar("_Call", bound=grpc.aio.StreamStreamCall[Any, Any] | grpc.aio.UnaryStreamCall[Any, Any])
_Response = TypeVar("_Response")


class Exchange(Generic[_Call, _Response]):
    """Receives answers over a call, and over a new call after each break.

    Args:
        connection: where the calls go.
        dial: opens a call with the given metadata.
        receive: called with each answer; a RecstreamError that it raises ends the call, but not the exchange.
        reconnect: decides when to try again.
        idle_timeout: seconds of silence after which a call is given up; None: never.
        send: writes to the call until it ends; None: the call only receives.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        dial: Callable[[grpc.aio.Metadata | None], _Call],
        receive: Callable[[_Response], None],
        reconnect: Reconnect,
        idle_timeout: float | None,
        send: Callable[[_Call], Awaitable[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._dial = dial
        self._receive = receive
        self._reconnect = reconnect
        self._idle_timeout = idle_timeout
        self._send = send

    async def run(self) -> Exception:
        """Runs until it is cancelled, or until another try cannot help.

        Returns:
            Why it ended: a RecstreamError, or what a function of the caller raised. It is returned, because it is
            raised where answers are awaited.
        """
        try:
            while True:
                metadata = await self._connection.metadata(self._connection.timeout)
                error = await self._one_call(metadata)
                if not await self._reconnect.pause(error):
                    return error
        except asyncio.CancelledError as cancellation:
            # Without its frames, because they hold the call, and a call holds its connection.
            raise cancellation.with_traceback(None) from None
        except Exception as failure:
            return failure

    async def _one_call(self, metadata: grpc.aio.Metadata | None) -> RecstreamError:
        try:
            return await self._converse(self._connection.opened(self._dial(metadata)))
        except RecstreamError as error:
            return fresh(error)

    async def _converse(self, call: _Call) -> RecstreamError:
        writer = None if self._send is None else asyncio.ensure_future(self._send(call))
        try:
            while True:
                response: Any = await within(self._idle_timeout, self._connection.outcome(call.read))
                if isinstance(response, RecstreamError):
                    return response
                if response is None:
                    # Proxies answer pings on behalf of dead servers, so only a message shows that the server lives.
                    return Unavailable(
                        f"nothing came from {self._connection.target} for {self._idle_timeout:g} s, "
                        "not even a heartbeat"
                    )
                if response is grpc.aio.EOF:
                    return Unavailable(f"{self._connection.target} ended the stream")
                self._reconnect.connected()
                self._receive(response)
        finally:
            call.cancel()
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            await self._connection.settle()
