"""One message from an open call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar, cast

import grpc.aio

from recstream.client.errors import Unavailable
from recstream.client.status import from_cancellation, from_rpc_error

_Response = TypeVar("_Response", covariant=True)


class Readable(Protocol[_Response]):
    """A call whose answers come one by one."""

    def read(self) -> Awaitable[_Response | Any]:
        """The next answer, or grpc.aio.EOF."""
        ...


async def read(call: Readable[_Response], idle_timeout: float | None) -> _Response:
    """The next message.

    Args:
        call: an open call.
        idle_timeout: seconds of silence after which the server is taken for gone. Proxies answer pings for
            servers that are long dead; only a message shows that somebody is there. None: wait for ever.

    Raises:
        RecstreamError: the call has ended, in whatever way. `asyncio.CancelledError` is the caller's own.
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
