"""When items were published, as an array of times."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN_MS: Final = -(2**62)
"""Stands for an unknown time. It is before the year 1, and its distance to any time fits an int64."""


def age_seconds(published_ms: NDArray[np.int64], now_ms: NDArray[np.int64] | int) -> NDArray[np.float32]:
    """Seconds since publication. -1: unknown. 0: it is in the future.

    Args:
        published_ms: Unix milliseconds, negative before 1970. UNKNOWN_MS: unknown.
        now_ms: The moment, or moments of a shape that broadcasts with `published_ms`.
    """
    seconds = np.maximum(now_ms - published_ms, 0) / 1000
    return np.where(published_ms == UNKNOWN_MS, -1.0, seconds).astype(np.float32)
