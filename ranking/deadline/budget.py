"""How long a list may still take."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Time until a moment on the clock.

    end: on the clock, seconds. Infinity: there is no hurry, and no part of the budget is bounded either.
    """

    end: float
    clock: Callable[[], float] = time.monotonic

    def left(self, most: float = math.inf) -> float:
        """Seconds left, at most `most`, never negative; infinity if the budget is unbounded."""
        if self.end == math.inf:
            return math.inf
        return max(0.0, min(self.end - self.clock(), most))

    def share(self, share: float, most: float = math.inf) -> "Budget":
        """A budget of this share of what is left, at most `most` seconds; unbounded if this one is."""
        if self.end == math.inf:
            return self
        return Budget(self.clock() + min(self.left() * share, most), self.clock)

    def reserve(self, seconds: float) -> "Budget":
        """The budget less so many seconds, but less a third of what is left at most."""
        return Budget(self.end - min(seconds, self.left() / 3), self.clock)
