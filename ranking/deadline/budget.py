"""How long a list may still take."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Time until the last moment at which an answer can be begun to be written.

    end: on the clock, seconds; the deadline less the reserve.
    """

    end: float
    clock: Callable[[], float] = time.monotonic

    def left(self, most: float = float("inf")) -> float:
        """Seconds left, at most `most`, never negative."""
        return max(0.0, min(self.end - self.clock(), most))

    def share(self, share: float, most: float = float("inf")) -> "Budget":
        """A budget of this share of what is left, at most `most` seconds."""
        return Budget(self.clock() + min(self.left() * share, most), self.clock)
