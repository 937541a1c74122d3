"""A circuit breaker: callers do not wait for a server that is known to be down."""

from collections.abc import Callable
from time import monotonic


class Breaker:
    """Lets calls through until `failures` calls in a row have failed. Then calls fail at once, except for probes.

    The breaker is closed at first. It opens after `failures` failures in a row, and stays open for a pause. Then it
    lets one call through as a probe. If the server answers, the breaker closes. If the probe fails, the pause doubles,
    up to a bound. So a server that is down costs each caller microseconds instead of a timeout.

    Report the end of every allowed call: `succeeded`, `failed` or `abandoned`. A probe without a report delays the next
    one by the longest pause.

    Args:
        failures: How many calls in a row have to fail before the breaker opens.
        pause_seconds: The first pause.
        max_pause_seconds: The longest pause.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        *,
        failures: int,
        pause_seconds: float,
        max_pause_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit = failures
        self._first_pause = pause_seconds
        self._longest_pause = max_pause_seconds
        self._clock = clock
        self._failures = 0
        self._failing_since: float | None = None
        self._pause = 0.0
        self._next_try = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether calls fail at once, except for probes."""
        return self._failures >= self._limit

    @property
    def failing_seconds(self) -> float:
        """The time since the first failure of the current series, in seconds. 0.0 if the last report was a success."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def allow(self) -> bool:
        """Returns whether a call may be made."""
        if not self.open:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._trying = True
        self._next_try = now + self._longest_pause
        return True

    def succeeded(self) -> None:
        """Reports that the server answered, even if the answer is an error."""
        self._failures = 0
        self._failing_since = None
        self._pause = 0.0
        self._trying = False

    def failed(self) -> None:
        """Reports that the server did not answer. Calls from before the breaker opened do not lengthen the pause."""
        now = self._clock()
        was_open = self.open
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = now
        if not self.open or (was_open and not self._trying):
            return
        self._pause = min(self._pause * 2 or self._first_pause, self._longest_pause)
        self._next_try = now + self._pause
        self._trying = False

    def abandoned(self) -> None:
        """Reports that a call was cancelled, or failed for a reason that says nothing about the server."""
        if self._trying:
            self._trying = False
            self._next_try = self._clock()
