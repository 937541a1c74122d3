"""Reads one message from an open call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar, cast

import grpc.aio

from recstream.client.errors import Unavailable
from recstream.client.status import from_cancellation, from_rpc_error

_Response = TypeVar("_Response", covariant=True)


class Readable(Protocol[_Response]):
    """A call with a stream of answers."""

    def read(self) -> Awaitable[_Response | Any]:
        """Returns the next answer, or grpc.aio.EOF."""
        ...


async def read(call: Readable[_Response], idle_timeout: float | None) -> _Response:
    """Returns the next message.

    Args:
        call: an open call.
        idle_timeout: seconds of silence after which the server counts as gone. Proxies answer pings on behalf of
            dead servers, so only a message shows that the server lives. None: wait forever.

    Raises:
        RecstreamError: the call has ended. `asyncio.CancelledError` is raised only if the caller is cancelled.
    """
    try:
        async with asyncio.timeout(idle_timeout):
            response = await call.read()
    except TimeoutError:
        raise Unavailable(f"nothing came for {idle_timeout:g} s, not even a heartbeat") from None
    except asyncio.CancelledError:
        raise from_cancellation() from None
    except grpc.aio.AioRpcError as failure:
        raise from_rpc_error(failure) from failure
    if response is grpc.aio.EOF:
        raise Unavailable("the server ended the stream")
    return cast(_Response, response)
