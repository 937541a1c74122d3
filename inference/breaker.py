"""A circuit breaker: after failures in a row, calls fail at once, and one at a time is let through to try."""

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """Times are in seconds of the caller's monotonic clock.

    Every call that was allowed must be followed by `succeeded`, `failed` or `abandoned`.
    """

    failures: int
    open_seconds: float
    open_max_seconds: float
    _in_a_row: int = 0
    _pause: float = 0.0
    _closed_until: float = 0.0
    _trying: bool = False

    @property
    def open(self) -> bool:
        """Whether calls fail at once, but for the one that tries."""
        return self._in_a_row >= self.failures

    def allow(self, now: float) -> bool:
        """Whether a call may be made."""
        if not self.open:
            return True
        if self._trying or now < self._closed_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The call was answered."""
        self._in_a_row = 0
        self._pause = 0.0
        self._trying = False

    def failed(self, now: float) -> None:
        """The call was not answered. One that began before the breaker opened does not lengthen its pause."""
        was_open = self.open
        self._in_a_row += 1
        if not self.open or (was_open and not self._trying):
            return
        self._pause = min(self._pause * 2 or self.open_seconds, self.open_max_seconds)
        self._closed_until = now + self._pause
        self._trying = False

    def abandoned(self) -> None:
        """The call was cancelled, or failed for reasons that say nothing about the server."""
        self._trying = False
