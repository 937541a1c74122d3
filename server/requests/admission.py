"""The limits of this process. Beyond them, calls are refused with a clear error; gRPC would refuse at random."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server import metrics
from server.errors import Draining, LimitExceeded
from server.settings import ServerSettings


class Admission:
    """Counts calls and streams in progress, and refuses those beyond the limits.

    Args:
        settings: The limits.

    Attributes:
        closed: Set once no more streams are admitted.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._streams: Counter[str] = Counter()
        self._open = 0
        self._unary = 0
        self.closed = asyncio.Event()

    @property
    def streams(self) -> int:
        """Open streams."""
        return self._open

    @property
    def unary(self) -> int:
        """Unary calls in progress."""
        return self._unary

    def close(self) -> None:
        """Admit no more streams, because the process is shutting down."""
        self.closed.set()

    @contextmanager
    def stream(self, user_id: str = "") -> Iterator[None]:
        """Admit a stream, and count it while inside.

        Args:
            user_id: The user whose limit it counts towards. Empty: none.

        Raises:
            LimitExceeded: There are too many streams.
            Draining: The process is shutting down.
        """
        limits = self._settings
        if self.closed.is_set():
            raise Draining(0)  # Without a delay, because other servers can take it at once.
        if self._open >= limits.max_streams:
            raise self._refuse("streams", "open streams", limits.max_streams)
        if user_id and self._streams[user_id] >= limits.max_streams_per_user:
            raise self._refuse("streams_per_user", "open streams of one user", limits.max_streams_per_user)
        self._open += 1
        self._streams[user_id] += 1
        metrics.OPEN_STREAMS.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self._streams[user_id] -= 1
            if self._streams[user_id] <= 0:
                del self._streams[user_id]
            metrics.OPEN_STREAMS.set(self._open)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Admit a unary call or an upload, and count it while inside.

        Raises:
            LimitExceeded: There are too many.
        """
        if self._unary >= self._settings.max_unary:
            raise self._refuse("unary", "requests in progress", self._settings.max_unary)
        self._unary += 1
        metrics.UNARY_IN_FLIGHT.set(self._unary)
        try:
            yield
        finally:
            self._unary -= 1
            metrics.UNARY_IN_FLIGHT.set(self._unary)

    def delay_ms(self) -> int:
        """Return a random delay before a retry, in milliseconds, so that refused clients do not all return at once."""
        base = self._settings.retry_after_ms
        return random.randint(base, 2 * base)

    def _refuse(self, limit: str, what: str, value: int) -> LimitExceeded:
        metrics.REFUSED.labels(limit).inc()
        return LimitExceeded(limit, what, value, self.delay_ms())
