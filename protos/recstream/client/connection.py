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

from recstream.client import arguments
from recstream.client.backoff import Backoff
from recstream.client.deadline import within
from recstream.client.errors import ClientClosed, DeadlineExceeded, RecstreamError, Unavailable, fresh
from recstream.client.forking import claim_process, is_forked
from recstream.client.hedging import hedged
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

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Call = TypeVar("_Call", bound=grpc.aio.Call)
_T = TypeVar("_T")

#: Sent with every call. A function is called for each try of a call, so that a token can be renewed.
Metadata = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
ChannelOptions = Sequence[tuple[str, str | int]]

#: A call that has no answer after this share of its timeout makes one more try, beside the one that runs.
HEDGE_SHARE = 0.5
#: But not before so many seconds: a server makes a simpler list if it has less time than it needs.
HEDGE_AFTER = 0.5
#: The longest wait (seconds) for gRPC's reports on ended calls. They take less than a millisecond.
SETTLE_TIMEOUT = 1.0

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
    ) -> grpc.aio.UnaryUnaryCall[_Request, _Response]: ...


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
        #: The running calls. `Channel.close()` of grpcio 1.74 does not end a call that waits for its next message.
        self.calls: weakref.WeakSet[grpc.aio.Call] = weakref.WeakSet()
        self.recommendations: RecommendationServiceAsyncStub = (
            recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
        )
        self.interactions: InteractionServiceAsyncStub = interaction_service_pb2_grpc.InteractionServiceStub(
            channel
        )
        self.profiles: ProfileServiceAsyncStub = profile_service_pb2_grpc.ProfileServiceStub(channel)
        self.catalog: CatalogServiceAsyncStub = catalog_service_pb2_grpc.CatalogServiceStub(channel)

    async def settle(self) -> None:
        """See `Connection.settle`."""
        # No open channel is in this state, so gRPC answers at once.
        await within(SETTLE_TIMEOUT, self.channel.wait_for_state_change(grpc.ChannelConnectivity.SHUTDOWN))


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
        self.target = arguments.target(target)
        self.timeout = arguments.seconds("timeout", timeout)
        self.backoff = backoff
        self._credentials = credentials
        self._metadata = metadata
        if retries < 0:
            raise ValueError(f"retries is {retries}; it must be 0 or more")
        self._retries = retries
        self._options = [*{**CHANNEL_OPTIONS, **dict(options)}.items()]
        self._stubs: _Stubs | None = None
        self._closed = False

    def _open(self) -> _Stubs:
        if self._closed:
            raise self._closed_error()
        claim_process()
        stubs = self._of_this_loop()
        if stubs is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(self.target, options=self._options)
            else:
                channel = grpc.aio.secure_channel(self.target, self._credentials, options=self._options)
            self._stubs = stubs = _Stubs(channel)
        return stubs

    def _closed_error(self) -> ClientClosed:
        return ClientClosed(f"the client of {self.target} is closed; make a new one")

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
        """Notes a running call, which `close()` ends. Returns it."""
        self._open().calls.add(call)
        return call

    async def outcome(self, make: Callable[[], Awaitable[_T]]) -> _T | RecstreamError:
        """Awaits a call, or a message of it. Returns its result or its error; see `status.outcome`."""
        answer = await outcome(make, self.target)
        if isinstance(answer, RecstreamError) and self._closed:
            return self._closed_error()  # and not that the call was cancelled
        return answer

    async def settle(self) -> None:
        """Waits until gRPC has reported the ends of cancelled calls to this event loop. Call it after cancelling one.

        gRPC reports everything over one queue, so the answer to a question that is asked now comes after them. If the
        loop were closed before, gRPC would log "Event loop is closed" on the next one.
        """
        stubs = self._stubs
        if stubs is not None and stubs.loop is asyncio.get_running_loop():
            await stubs.settle()

    async def metadata(self, seconds: float) -> grpc.aio.Metadata | None:
        """Returns the metadata of a call, with `traceparent` if the caller is traced.

        Args:
            seconds: how long the caller's function may take.

        Raises:
            DeadlineExceeded: the function takes longer.
            ValueError: HTTP/2 cannot carry an entry.
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
        for key, value in pairs.items():
            arguments.metadata(key, value)
        return grpc.aio.Metadata(*pairs.items()) if pairs else None

    async def call(
        self,
        method: UnaryMethod[_Request, _Response],
        request: _Request,
        timeout: float | None,
        *,
        hedge: bool = True,
    ) -> _Response:
        """Makes a unary call. Retries while the server is unavailable and time is left.

        Every method of the contract may be repeated: events have an id, and an item replaces itself.

        Args:
            method: a method of a stub.
            request: the request.
            timeout: seconds for all tries together; None: the client's default.
            hedge: whether to make one more try beside one that is late, of which the first answer counts. False if the
                server waits for events, because a late answer then says nothing about it. False for writes to the
                catalogue, because the try that is not needed any more could still write, after a later write.

        Raises:
            RecstreamError: its class says what to do; see `recstream.client.errors`.
        """

        async def attempt(seconds: float, metadata: grpc.aio.Metadata | None) -> _Response:
            return await self.opened(method(request, timeout=seconds, metadata=metadata))

        return await self.retrying(attempt, timeout, hedge=hedge)

    async def retrying(
        self,
        attempt: Callable[[float, grpc.aio.Metadata | None], Awaitable[_T]],
        timeout: float | None,
        *,
        hedge: bool,
    ) -> _T:
        """Makes a call, and retries it as `call` does.

        Args:
            attempt: makes a try with the given deadline in seconds, and the metadata.
            timeout: seconds for all tries together, at most a day; None: the client's default.
            hedge: as in `call`.
        """
        seconds = arguments.timeout(timeout, self.timeout)
        start = time.monotonic()
        limit = start + seconds
        late = start + max(seconds * HEDGE_SHARE, HEDGE_AFTER) if hedge and self._retries else limit

        async def once() -> _T | RecstreamError:
            metadata = await self.metadata(limit - time.monotonic())
            left = max(limit - time.monotonic(), 0.0)
            try:
                return await self.outcome(partial(attempt, left, metadata))
            except asyncio.CancelledError as cancellation:
                await self.settle()
                raise cancellation.with_traceback(None) from None

        for tries in range(self._retries + 1):
            now = time.monotonic()
            answer = await (hedged(once, late - now) if now < late < limit else once())
            if not isinstance(answer, RecstreamError):
                return answer
            pause = self.backoff.delay(tries, answer.details.retry_after)
            again = isinstance(answer, Unavailable) and time.monotonic() + pause < limit
            if tries == self._retries or not again:
                raise fresh(answer)
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    async def close(self) -> None:
        """Ends every open call, and closes the channel. May be called twice."""
        self._closed = True
        if is_forked():
            return  # the channel is the other process's
        stubs, self._stubs = self._of_this_loop(), None
        if stubs is not None:
            for call in list(stubs.calls):
                call.cancel()
            await stubs.settle()
            await stubs.channel.close()
