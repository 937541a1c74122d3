"""The channel to the servers: how it is set up, and how one call is made on it."""

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

#: Sent with every call; a function is asked anew for each, so that a token can be renewed.
Metadata = Mapping[str, str] | Callable[[], Mapping[str, str]]
ChannelOptions = Sequence[tuple[str, str | int]]

CHANNEL_OPTIONS: dict[str, str | int] = {
    # Pings find a dead peer under an idle stream. The server allows one each 10 s.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    # The channel's own back-off grows to two minutes by default: far too long after a server's restart.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 3_000,
    "grpc.min_reconnect_backoff_ms": 5_000,  # in truth the time that one attempt to connect may take
    # A name with several addresses (a headless service) is spread over all of them.
    "grpc.service_config": json.dumps({"loadBalancingConfig": [{"round_robin": {}}]}),
    # A server that goes is when the name is looked up again, by default not twice in half a minute: in a rolling
    # restart the next server would go before the one that replaces it is known.
    "grpc.dns_min_time_between_resolutions_ms": 5_000,
    # Connections of its own. By default clients of one process with equal options share theirs, and with them the
    # back-off: whom a dead server kept waiting would make a client that starts later wait too.
    "grpc.use_local_subchannel_pool": 1,
}


class UnaryMethod(Protocol[_Request, _Response]):
    """A method of a stub that answers once."""

    def __call__(
        self, request: _Request, *, timeout: float | None = ..., metadata: grpc.aio.Metadata | None = ...
    ) -> Awaitable[_Response]: ...


def tls(
    authority: Path | bytes | None = None,
    certificate: Path | bytes | None = None,
    key: Path | bytes | None = None,
) -> grpc.ChannelCredentials:
    """Credentials for a server that speaks TLS.

    Args:
        authority: PEM of the authorities to trust; None: those of the system.
        certificate: PEM of the client's own chain, for mutual TLS; with `key`.
        key: PEM of the client's private key.

    Example:
        Client("recstream.example.org:443", credentials=tls(Path("ca.pem")))
    """

    def read(source: Path | bytes | None) -> bytes | None:
        return source.read_bytes() if isinstance(source, Path) else source

    return grpc.ssl_channel_credentials(read(authority), read(key), read(certificate))


class _Stubs:
    """A channel and what is called on it."""

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
    """A channel with its stubs, made at the first use, on the event loop that runs then."""

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
            raise ClientClosed(f"the client of {self.target} is closed; make another")
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
        """What goes with a call now, `traceparent` with it where the caller is being traced."""
        given = self._metadata() if callable(self._metadata) else self._metadata or {}
        pairs = {**trace_headers(), **{key.lower(): value for key, value in given.items()}}
        return grpc.aio.Metadata(*pairs.items()) if pairs else None

    async def call(
        self, method: UnaryMethod[_Request, _Response], request: _Request, timeout: float | None
    ) -> _Response:
        """One answer, tried again while the server is unavailable and time is left.

        Every method of the contract may be repeated: events carry an id, items replace themselves.

        Args:
            method: a method of a stub.
            request: what to send.
            timeout: seconds for all tries together; None: the client's default.

        Raises:
            RecstreamError: the kind says what to do; see `recstream.client.errors`.
        """

        async def attempt(left: float) -> _Response:
            return await method(request, timeout=left, metadata=self.metadata())

        return await self.retrying(attempt, timeout)

    async def retrying(self, attempt: Callable[[float], Awaitable[_T]], timeout: float | None) -> _T:
        """What `attempt` returns, given the seconds that are left; tried again as `call` says."""
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
        """Ends every call that is open and the channel. May be called twice."""
        self._closed = True
        stubs, self._stubs = self._stubs, None
        if stubs is not None:
            await stubs.channel.close()
