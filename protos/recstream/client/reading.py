"""Reads one message from an open call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar, cast

import grpc.aio

from recstream.client.errors import RecstreamError, Unavailable
from recstream.client.status import outcome

_Response = TypeVar("_Response", covariant=True)


class Readable(Protocol[_Response]):
    """A call with a stream of answers."""

    def read(self) -> Awaitable[_Response | Any]:
        """Returns the next answer, or grpc.aio.EOF."""
        ...

    def cancel(self) -> bool:
        """Cancels the call."""
        ...


async def read(
    call: Readable[_Response], idle_timeout: float | None, target: str
) -> _Response | RecstreamError:
    """Returns the next message, or the error that ended the call.

    If nothing comes in time, or the caller is cancelled, the call is cancelled.

    Args:
        call: an open call.
        idle_timeout: seconds of silence after which the server counts as gone. Proxies answer pings on behalf of
            dead servers, so only a message shows that the server lives. None: wait forever.
        target: what the client calls, for errors.
    """
    reading = asyncio.ensure_future(outcome(call.read, target))
    try:
        done, _ = await asyncio.wait([reading], timeout=idle_timeout)
    finally:
        if not reading.done():
            # The call is cancelled, and not the read, so that the read ends when gRPC has ended the call. Otherwise
            # gRPC might report that end to an event loop that is closed by then, which is logged as an error.
            call.cancel()
            await asyncio.wait([reading])
    if not done:
        return Unavailable(f"nothing came from {target} for {idle_timeout:g} s, not even a heartbeat")
    response = reading.result()
    if response is grpc.aio.EOF:
        return Unavailable(f"{target} ended the stream")
    return cast(_Response, response)
