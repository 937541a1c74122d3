"""A connection to Valkey that replaces itself when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

import structlog
from glide import (
    AdvancedGlideClientConfiguration,
    AdvancedGlideClusterClientConfiguration,
    BackoffStrategy,
    ClosingError,
    ConnectionError,
    GlideClient,
    GlideClientConfiguration,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    GlideError,
    Logger,
    LogLevel,
    NodeAddress,
    PeriodicChecksManualInterval,
    PubSubMsg,
    ServerCredentials,
    TimeoutError,
    TlsAdvancedConfiguration,
)

from profiles.errors import StoreUnavailable
from profiles.metrics import CONNECTIONS, REQUESTS, SECONDS
from profiles.settings import StoreSettings, split_address
from telemetry.breaker import Breaker

log = structlog.get_logger()

Client = GlideClient | GlideClusterClient
T = TypeVar("T")

_SPARE_SECONDS = 0.5
_BREAKER_FAILURES = 3
_BREAKER_PAUSE_SECONDS = 0.25
# 50, 100, ... 1,600 ms between attempts, plus or minus a fifth, without end.
_BACKOFF = BackoffStrategy(num_of_retries=5, factor=50, exponent_base=2, jitter_percent=20)


class Connection:
    """A valkey-glide client, which is replaced when every request on it fails.

    The client reconnects by itself when its connection breaks. It does not notice a link that has gone silent. So a new
    client replaces it when all requests have failed for `reconnect_after_ms`. It connects with the first request, so a
    process can start while the store is down.

    Args:
        settings: The connection to the store.
        on_message: Called in the event loop with every message of a subscribed channel.

    Attributes:
        renewals: How often the client was replaced.
    """

    def __init__(
        self, settings: StoreSettings, on_message: Callable[[PubSubMsg], None] | None = None
    ) -> None:
        # The client's logger would write to stdout.
        Logger.set_logger_config(LogLevel.OFF)
        self._settings = settings
        self._on_message = on_message
        self._client: Client | None = None
        self._breaker = Breaker(
            failures=_BREAKER_FAILURES,
            pause_seconds=_BREAKER_PAUSE_SECONDS,
            max_pause_seconds=_BREAKER_PAUSE_SECONDS,
        )
        self._made_at = monotonic()
        self._longest_wait = (
            settings.request_timeout_ms + settings.connection_timeout_ms
        ) / 1000 + _SPARE_SECONDS
        self.renewals = 0

    async def open(self) -> None:
        """Creates the client. Nothing is sent yet."""
        self._client = await self._new_client()

    async def close(self) -> None:
        """Closes the connection. Requests in flight fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ask(
        self, operation: str, request: Callable[[Client], Awaitable[T]], *, affects_breaker: bool = True
    ) -> T:
        """Sends a request and waits for its answer for a bounded time.

        While the store is known to be down, most requests fail at once.

        Args:
            operation: The name of the request in metrics and errors, one of `profiles.metrics.OPERATIONS`.
            request: Sends the request with the client.
            affects_breaker: Whether a failure concerns the whole connection, not only one server of many.

        Raises:
            StoreUnavailable: There is no answer in time, or the answer is an error.
        """
        if self._client is None:
            raise StoreUnavailable("the connection to the store is closed")
        if not self._breaker.allow():
            REQUESTS.labels(operation, "not_sent").inc()
            raise StoreUnavailable("the circuit breaker of the store is open after repeated failures")
        started = monotonic()
        try:
            async with asyncio.timeout(self._longest_wait):
                answer = await request(self._client)
        except (GlideError, OSError) as cause:  # OSError includes Python's own TimeoutError.
            await self._failed(operation, cause, affects_breaker)
            raise StoreUnavailable(f"the store could not {operation}: {cause}") from cause
        self._breaker.succeeded()
        REQUESTS.labels(operation, "ok").inc()
        SECONDS.labels(operation).observe(monotonic() - started)
        return answer

    async def _failed(self, operation: str, cause: Exception, affects_breaker: bool) -> None:
        silent = isinstance(cause, (TimeoutError, ConnectionError, ClosingError, OSError))
        if not silent and "connect failed" not in str(cause):
            self._breaker.succeeded()
            REQUESTS.labels(operation, "error").inc()
            return
        if not affects_breaker:
            REQUESTS.labels(operation, "unavailable").inc()
            return
        self._breaker.failed()
        REQUESTS.labels(operation, "unavailable").inc()
        silent_seconds = min(self._breaker.failing_seconds, monotonic() - self._made_at)
        if self._client is None or silent_seconds * 1000 < self._settings.reconnect_after_ms:
            return
        self._made_at = monotonic()
        log.warning("store_connection_renewed", operation=operation, cause=str(cause))
        CONNECTIONS.inc()
        old, self._client = self._client, await self._new_client()
        self.renewals += 1
        if old is not None:
            await old.close()

    async def _new_client(self) -> Client:
        if self._settings.cluster:
            return await GlideClusterClient.create(_cluster(self._settings, self._on_message))
        return await GlideClient.create(_standalone(self._settings, self._on_message))


def _standalone(
    settings: StoreSettings, on_message: Callable[[PubSubMsg], None] | None
) -> GlideClientConfiguration:
    return GlideClientConfiguration(
        addresses=_addresses(settings),
        use_tls=settings.tls,
        credentials=_credentials(settings),
        request_timeout=settings.request_timeout_ms,
        reconnect_strategy=_BACKOFF,
        database_id=settings.database,
        client_name="recstream",
        inflight_requests_limit=10_000,
        lazy_connect=True,
        advanced_config=AdvancedGlideClientConfiguration(
            connection_timeout=settings.connection_timeout_ms,
            tls_config=_tls(settings),
            pubsub_reconciliation_interval=settings.probe_interval_ms,
        ),
        pubsub_subscriptions=None
        if on_message is None
        else GlideClientConfiguration.PubSubSubscriptions({}, lambda message, _: on_message(message), None),
    )


def _cluster(
    settings: StoreSettings, on_message: Callable[[PubSubMsg], None] | None
) -> GlideClusterClientConfiguration:
    return GlideClusterClientConfiguration(
        addresses=_addresses(settings),
        use_tls=settings.tls,
        credentials=_credentials(settings),
        request_timeout=settings.request_timeout_ms,
        reconnect_strategy=_BACKOFF,
        client_name="recstream",
        inflight_requests_limit=10_000,
        lazy_connect=True,
        periodic_checks=PeriodicChecksManualInterval(1),
        advanced_config=AdvancedGlideClusterClientConfiguration(
            connection_timeout=settings.connection_timeout_ms,
            tls_config=_tls(settings),
            pubsub_reconciliation_interval=settings.probe_interval_ms,
        ),
        pubsub_subscriptions=None
        if on_message is None
        else GlideClusterClientConfiguration.PubSubSubscriptions(
            {}, lambda message, _: on_message(message), None
        ),
    )


def _addresses(settings: StoreSettings) -> list[NodeAddress]:
    return [NodeAddress(*split_address(address)) for address in settings.addresses]


def _credentials(settings: StoreSettings) -> ServerCredentials | None:
    if settings.password is None:
        return None
    return ServerCredentials(password=settings.password.get_secret_value(), username=settings.username)


def _tls(settings: StoreSettings) -> TlsAdvancedConfiguration | None:
    if settings.tls_ca_file is None:
        return None
    return TlsAdvancedConfiguration(root_pem_cacerts=Path(settings.tls_ca_file).read_bytes())
