"""Decides whether and when a broken stream is opened again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from recstream.client.backoff import Backoff
from recstream.client.errors import ProtocolViolation, RecstreamError, ServerError, Unavailable

log = logging.getLogger("recstream.client")

#: Called before each pause, with the error that broke the stream and the pause in seconds.
OnRetry = Callable[[RecstreamError, float], None]


class Reconnect:
    """Counts breaks in a row, and pauses after each of them.

    Each stream has one object. Call `connected()` at the answers of a connection, and `pause()` after each break.
    """

    def __init__(self, backoff: Backoff, on_retry: OnRetry | None = None) -> None:
        self._backoff = backoff
        self._on_retry = on_retry
        self._attempt = 0
        self._connected_at: float | None = None
        self._broken_since: float | None = None
        #: How many times the stream was opened again.
        self.count = 0

    def connected(self) -> None:
        """Notes that the server has answered on the current connection."""
        if self._connected_at is None:
            self._connected_at = time.monotonic()
        self._broken_since = None

    async def pause(self, error: RecstreamError) -> bool:
        """Waits before the next try.

        Args:
            error: what ended the connection; a delay that it names is waited for in addition to the back-off's jitter.

        Returns:
            False, at once, if another try cannot help or it is time to give up.
        """
        now = time.monotonic()
        if not may_heal(error):
            return False
        if self._connected_at is not None and now - self._connected_at >= self._backoff.steady_after:
            self._attempt = 0
        self._connected_at = None
        if self._broken_since is None:
            self._broken_since = now
        limit = self._backoff.give_up_after
        requested = error.retry_after if isinstance(error, Unavailable) else None
        delay = self._backoff.delay(self._attempt, requested)
        if limit is not None and now + delay - self._broken_since > limit:
            return False
        self._attempt += 1
        self.count += 1
        log.info("stream broke (%s: %s); opening it again in %.2f s", type(error).__name__, error, delay)
        if self._on_retry is not None:
            self._on_retry(error, delay)
        await asyncio.sleep(delay)
        return True


def may_heal(error: RecstreamError) -> bool:
    """Whether it makes sense to open a stream again that ended with this error.

    More errors count than for unary calls: proxies end long streams with INTERNAL or UNKNOWN, and opening a stream
    again repeats no write.
    """
    if isinstance(error, ServerError):
        return error.code is None or error.code.name in ("INTERNAL", "UNKNOWN", "DATA_LOSS")
    if error.code is not None and error.code.name == "DEADLINE_EXCEEDED":
        return True  # the client sets no deadline for streams, so it is the limit of a proxy
    return isinstance(error, Unavailable | ProtocolViolation)
