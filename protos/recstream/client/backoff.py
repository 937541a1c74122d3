"""How long to wait before another try."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: A server may request a longer pause than the back-off's, but at most this long (seconds).
LONGEST_REQUESTED_DELAY = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter below a ceiling.

    The pause before try k (from 0) is drawn uniformly from (0, min(maximum, initial * multiplier^k)], so that
    clients that lost the same server do not all come back at once.

    Attributes:
        initial: ceiling of the first pause, in seconds.
        maximum: ceiling of every pause, in seconds.
        multiplier: growth from pause to pause.
        steady_after: seconds that a connection has to last for the next break to count as the first one.
        give_up_after: seconds without a connection after which the error is raised; None: never.

    Example:
        >>> Backoff(initial=0.1, maximum=10).ceiling(3)
        0.8
    """

    initial: float = 0.1
    maximum: float = 10.0
    multiplier: float = 2.0
    steady_after: float = 5.0
    give_up_after: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.initial <= self.maximum and self.multiplier >= 1):
            raise ValueError(f"a back-off needs 0 < initial <= maximum and multiplier >= 1, got {self}")

    def ceiling(self, attempt: int) -> float:
        """The longest pause before try `attempt` (from 0), in seconds."""
        # The exponent is bounded, because a float power past 1e308 would raise after a night of tries.
        return min(self.maximum, self.initial * self.multiplier ** min(attempt, 64))

    def delay(
        self, attempt: int, requested: float | None = None, source: random.Random | None = None
    ) -> float:
        """The pause before try `attempt` (from 0), in seconds.

        Args:
            attempt: how many tries have failed before.
            requested: the delay that the server requests (RetryInfo, go-away), in seconds; the jitter is added
                to it.
            source: the source of randomness; None: that of the process.
        """
        drawn = (source or random).random()
        jittered = self.ceiling(attempt) * (1.0 - drawn)
        if requested is None:
            return jittered
        return min(max(requested, 0.0), LONGEST_REQUESTED_DELAY) + jittered
