"""Not waiting for what has just failed to answer."""

from collections.abc import Callable


class Breaker:
    """Lets requests through until `failures` in a row have failed, then one each `retry_seconds`.

    So a server that is down costs its callers microseconds and not a timeout each, and is found again within
    `retry_seconds` and one request of its return.
    """

    def __init__(self, clock: Callable[[], float], *, failures: int = 3, retry_seconds: float = 0.25) -> None:
        self._clock = clock
        self._limit = failures
        self._retry_seconds = retry_seconds
        self._failures = 0
        self._next_try = 0.0
        self._failing_since: float | None = None

    def allows(self) -> bool:
        """Whether to send the next request; one that is allowed has to be reported on."""
        if self._failures < self._limit:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + self._retry_seconds
        return True

    def succeeded(self) -> None:
        """The server answered, if only with an error."""
        self._failures = 0
        self._failing_since = None

    def failed(self) -> None:
        """The server did not answer."""
        now = self._clock()
        self._failures += 1
        self._next_try = now + self._retry_seconds
        if self._failing_since is None:
            self._failing_since = now

    def failing_seconds(self) -> float:
        """How long nothing but failures has come."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def start_over(self) -> None:
        """Counts `failing_seconds` from now on; the breaker stays as it is."""
        self._failing_since = None
