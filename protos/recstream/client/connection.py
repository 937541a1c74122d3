"""The channel to the servers, and single calls on it."""

from __future__ import annotations

import asyncio
import json
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc
import grpc.aio

from recstream.client.backoff import Backoff
from recstream.client.deadline import within
from recstream.client.errors import ClientClosed, DeadlineExceeded, RecstreamError, Unavailable, fresh
from recstream.client.status import outcome
from recstream.client.tracing import trace_headers
from recstream.v1 import (
    catalog_service_pb2_grpc,
    interaction_service_pb2_grpc,
    profile_service_pb2_grpc,
    recommendation_service_pb2_grpc,
)

if TYPE_CHECKING:
    from recstream.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub
    from recstream.v1.interaction_service_pb2_grpc import InteractionServiceAsyncStub
    from recstream.v1.profile_service_pb2_grpc import ProfileServiceAsyncStub
    from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceAsyncStub

_Request = TypeVar("_Request", contravariant=True)
_Response = TypeVar("_Response", covariant=True)
_Call = TypeVar("_Call", bound=grpc.aio.Call)
_T = TypeVar("_T")

#: Sent with every call. A function is called for each try of a call, so that a token can be renewed.
Metadata = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
ChannelOptions = Sequence[tuple[str, str | int]]

#: The share of the time that is left that a try may take if another one may follow, so that a server that hangs leaves
#: time for another server.
TRY_SHARE = 0.5
#: But a try may take this many seconds. The server makes a simpler list if it has less time than it needs.
SHORTEST_TRY = 0.5

CHANNEL_OPTIONS: dict[str, str | int] = {
    # Pings detect a dead peer of an idle stream. The server allows one every 10 s.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    # By default the channel's own back-off grows to two minutes, which is far too long after a server's restart.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 3_000,
    "grpc.min_reconnect_backoff_ms": 5_000,  # in fact the longest time of one attempt to connect
    # Calls to a name with several addresses (a headless service) are spread over all of them.
    "grpc.service_config": json.dumps({"loadBalancingConfig": [{"round_robin": {}}]}),
    # The name is looked up again when a server goes away, but by default at most every 30 s. In a rolling restart the
    # next server would go away before the client knows the replacement of the first one.
    "grpc.dns_min_time_between_resolutions_ms": 5_000,
    # By default the clients of a process with equal options share connections, and with them the back-off. A client
    # that starts later would then wait as well.
    "grpc.use_local_subchannel_pool": 1,
}


class UnaryMethod(Protocol[_Request, _Response]):
    """A unary method of a stub."""

    def __call__(
        self, request: _Request, *, timeout: float | None = ..., metadata: grpc.aio.Metadata | None = ...
    ) -> Awaitable[_Response]: ...


def tls(
    authority: Path | bytes | None = None,
    certificate: Path | bytes | None = None,
    key: Path | bytes | None = None,
) -> grpc.ChannelCredentials:
    """Returns credentials for a server with TLS.

    Args:
        authority: PEM of the authorities to trust; None: those of the system.
        certificate: PEM of the client's certificate chain, for mutual TLS; needs `key`.
        key: PEM of the client's private key.

    Example:
        Client("recstream.example.org:443", credentials=tls(Path("ca.pem")))
    """

    def read(source: Path | bytes | None) -> bytes | None:
        return source.read_bytes() if isinstance(source, Path) else source

    return grpc.ssl_channel_credentials(read(authority), read(key), read(certificate))


class _Stubs:
    """A channel with its stubs, and the event loop that it belongs to."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.loop = asyncio.get_running_loop()
        #: The open streams. `Channel.close()` of grpcio 1.74 does not end a call that waits for its next message.
        self.calls: weakref.WeakSet[grpc.aio.Call] = weakref.WeakSet()
        self.recommendations: RecommendationServiceAsyncStub = (
            recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
        )
        self.interactions: InteractionServiceAsyncStub = interaction_service_pb2_grpc.InteractionServiceStub(
            channel
        )
        self.profiles: ProfileServiceAsyncStub = profile_service_pb2_grpc.ProfileServiceStub(channel)
        self.catalog: CatalogServiceAsyncStub = catalog_service_pb2_grpc.CatalogServiceStub(channel)


class Connection:
    """A channel with its stubs. It is made at the first use on an event loop.

    A channel can only be used on the loop that it was made on. If another loop runs at the next use, a new channel is
    made. If the loop of the channel runs at the same time, in another thread, the use is refused.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None,
        metadata: Metadata | None,
        timeout: float,
        retries: int,
        backoff: Backoff,
        options: ChannelOptions,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self.backoff = backoff
        self._credentials = credentials
        self._metadata = metadata
        self._retries = retries
        self._options = [*{**CHANNEL_OPTIONS, **dict(options)}.items()]
        self._stubs: _Stubs | None = None
        self._closed = False

    def _open(self) -> _Stubs:
        if self._closed:
            raise ClientClosed(f"the client of {self.target} is closed; make a new one")
        stubs = self._of_this_loop()
        if stubs is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(self.target, options=self._options)
            else:
                channel = grpc.aio.secure_channel(self.target, self._credentials, options=self._options)
            self._stubs = stubs = _Stubs(channel)
        return stubs

    def _of_this_loop(self) -> _Stubs | None:
        stubs = self._stubs
        if stubs is None or stubs.loop is asyncio.get_running_loop():
            return stubs
        if stubs.loop.is_running():
            raise RecstreamError(
                f"the client of {self.target} is in use on another event loop; make one client for each loop"
            )
        self._stubs = None  # grpc closes a channel to which nothing refers
        return None

    @property
    def recommendations(self) -> RecommendationServiceAsyncStub:
        """The stub of RecommendationService."""
        return self._open().recommendations

    @property
    def interactions(self) -> InteractionServiceAsyncStub:
        """The stub of InteractionService."""
        return self._open().interactions

    @property
    def profiles(self) -> ProfileServiceAsyncStub:
        """The stub of ProfileService."""
        return self._open().profiles

    @property
    def catalog(self) -> CatalogServiceAsyncStub:
        """The stub of CatalogService."""
        return self._open().catalog

    def opened(self, call: _Call) -> _Call:
        """Notes an open stream, which `close()` ends. Returns it."""
        self._open().calls.add(call)
        return call

    async def metadata(self, seconds: float) -> grpc.aio.Metadata | None:
        """Returns the metadata of a call, with `traceparent` if the caller is traced.

        Args:
            seconds: how long the caller's function may take.

        Raises:
            DeadlineExceeded: the function takes longer.
            Exception: what the function raises.
        """
        given = self._metadata() if callable(self._metadata) else self._metadata or {}
        if isinstance(given, Awaitable):
            awaited = await within(seconds, given)
            if awaited is None:
                raise DeadlineExceeded(
                    "the function that returns the metadata did not end within the deadline"
                )
            given = awaited
        pairs = {**trace_headers(), **{key.lower(): value for key, value in given.items()}}
        return grpc.aio.Metadata(*pairs.items()) if pairs else None

    async def call(
        self,
        method: UnaryMethod[_Request, _Response],
        request: _Request,
        timeout: float | None,
        *,
        waits: bool = False,
    ) -> _Response:
        """Makes a unary call. Retries while the server is unavailable and time is left.

        Every method of the contract may be repeated: events have an id, and an item replaces itself.

        Args:
            method: a method of a stub.
            request: the request.
            timeout: seconds for all tries together; None: the client's default.
            waits: whether the server waits for events before it answers. It waits for as long as a try may take, so
                that each try may take all the time that is left.

        Raises:
            RecstreamError: its class says what to do; see `recstream.client.errors`.
        """

        def attempt(seconds: float, metadata: grpc.aio.Metadata | None) -> Awaitable[_Response]:
            return method(request, timeout=seconds, metadata=metadata)

        return await self.retrying(attempt, timeout, share=1.0 if waits else TRY_SHARE)

    async def retrying(
        self,
        attempt: Callable[[float, grpc.aio.Metadata | None], Awaitable[_T]],
        timeout: float | None,
        *,
        share: float,
    ) -> _T:
        """Makes a call, and retries it as `call` does.

        Args:
            attempt: makes a try with the given deadline in seconds, and the metadata.
            timeout: seconds for all tries together; None: the client's default.
            share: the share of the time that is left that a try may take if another one may follow.
        """
        limit = time.monotonic() + (self.timeout if timeout is None else timeout)
        for tries in range(self._retries + 1):
            metadata = await self.metadata(limit - time.monotonic())
            left = max(limit - time.monotonic(), 0.0)
            seconds = left if tries == self._retries else min(left, max(left * share, SHORTEST_TRY))
            answer = await outcome(partial(attempt, seconds, metadata), self.target)
            if not isinstance(answer, RecstreamError):
                return answer
            again = isinstance(answer, Unavailable) or (
                isinstance(answer, DeadlineExceeded) and seconds < left
            )
            pause = self.backoff.delay(tries, answer.details.retry_after)
            if tries == self._retries or not again or time.monotonic() + pause >= limit:
                raise fresh(answer)
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    async def close(self) -> None:
        """Ends every open call, and closes the channel. May be called twice."""
        self._closed = True
        stubs, self._stubs = self._of_this_loop(), None
        if stubs is not None:
            for call in list(stubs.calls):
                call.cancel()
            await stubs.channel.close()
