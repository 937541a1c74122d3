"""The channel to the servers, and single calls on it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc
import grpc.aio

from recstream.client.backoff import Backoff
from recstream.client.errors import ClientClosed, RecstreamError, Unavailable
from recstream.client.status import from_cancellation, from_rpc_error
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
_T = TypeVar("_T")

#: Sent with every call. A function is called for each call, so that a token can be renewed.
Metadata = Mapping[str, str] | Callable[[], Mapping[str, str]]
ChannelOptions = Sequence[tuple[str, str | int]]

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
    """A channel with its stubs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.recommendations: RecommendationServiceAsyncStub = (
            recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
        )
        self.interactions: InteractionServiceAsyncStub = interaction_service_pb2_grpc.InteractionServiceStub(
            channel
        )
        self.profiles: ProfileServiceAsyncStub = profile_service_pb2_grpc.ProfileServiceStub(channel)
        self.catalog: CatalogServiceAsyncStub = catalog_service_pb2_grpc.CatalogServiceStub(channel)


class Connection:
    """A channel with its stubs. It is made at the first use, on the event loop that runs then."""

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
        if self._stubs is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(self.target, options=self._options)
            else:
                channel = grpc.aio.secure_channel(self.target, self._credentials, options=self._options)
            self._stubs = _Stubs(channel)
        return self._stubs

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

    def metadata(self) -> grpc.aio.Metadata | None:
        """Returns the metadata of a call, with `traceparent` if the caller is traced."""
        given = self._metadata() if callable(self._metadata) else self._metadata or {}
        pairs = {**trace_headers(), **{key.lower(): value for key, value in given.items()}}
        return grpc.aio.Metadata(*pairs.items()) if pairs else None

    async def call(
        self, method: UnaryMethod[_Request, _Response], request: _Request, timeout: float | None
    ) -> _Response:
        """Makes a unary call. Retries while the server is unavailable and time is left.

        Every method of the contract may be repeated: events have an id, and an item replaces itself.

        Args:
            method: a method of a stub.
            request: the request.
            timeout: seconds for all tries together; None: the client's default.

        Raises:
            RecstreamError: its class says what to do; see `recstream.client.errors`.
        """

        async def attempt(left: float) -> _Response:
            return await method(request, timeout=left, metadata=self.metadata())

        return await self.retrying(attempt, timeout)

    async def retrying(self, attempt: Callable[[float], Awaitable[_T]], timeout: float | None) -> _T:
        """Calls `attempt` with the seconds that are left, and returns its result. Retries like `call`."""
        limit = time.monotonic() + (self.timeout if timeout is None else timeout)
        for tries in range(self._retries + 1):
            left = max(limit - time.monotonic(), 0.0)
            try:
                return await attempt(left)
            except grpc.aio.AioRpcError as failure:
                error, cause = from_rpc_error(failure), failure
            except asyncio.CancelledError:
                error, cause = from_cancellation(), None
            pause = self._pause(error, tries, limit)
            if pause is None:
                raise error from cause
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    def _pause(self, error: RecstreamError, tries: int, limit: float) -> float | None:
        if not isinstance(error, Unavailable) or tries >= self._retries:
            return None
        pause = self.backoff.delay(tries, error.retry_after)
        return pause if time.monotonic() + pause < limit else None

    async def close(self) -> None:
        """Ends every open call, and closes the channel. May be called twice."""
        self._closed = True
        stubs, self._stubs = self._stubs, None
        if stubs is not None:
            await stubs.channel.close()
