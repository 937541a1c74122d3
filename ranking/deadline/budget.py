"""The time that a list may still take."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """The time until a moment on the clock.

    Attributes:
        end: The moment on the clock, in seconds. Infinity: the budget and all shares of it are unbounded.
        clock: Returns the time in seconds.
    """

    end: float
    clock: Callable[[], float] = time.monotonic

    def left(self, most: float = math.inf) -> float:
        """Seconds left, between 0 and `most`. Infinity if the budget is unbounded."""
        if self.end == math.inf:
            return math.inf
        return max(0.0, min(self.end - self.clock(), most))

    def share(self, share: float, most: float = math.inf) -> "Budget":
        """A budget of this share of the time left, at most `most` seconds. Unbounded if this one is."""
        if self.end == math.inf:
            return self
        return Budget(self.clock() + min(self.left() * share, most), self.clock)

    def reserve(self, seconds: float) -> "Budget":
        """The budget shortened by `seconds`, but by no more than a third of the time left."""
        return Budget(self.end - min(seconds, self.left() / 3), self.clock)
