"""Weights in eight bits, a scale for each channel."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.events import Floats

MOST: Final = 127


@dataclass(frozen=True, slots=True)
class Quantised:
    """values int8, of the weights' shape, times scales float32, of as many dimensions and of length one in all but the
    channel's."""

    values: NDArray[np.int8]
    scales: Floats

    def weights(self) -> Floats:
        """What they stand for."""
        found: Floats = self.values.astype(np.float32) * self.scales
        return found


def quantised(weights: Floats, axis: int) -> Quantised:
    """Symmetric, rounded to the nearest: each weight is off by half a step at most, a step being 1/127 of the largest
    of its channel along `axis`. Raises ValueError where a weight is not finite."""
    if not np.isfinite(weights).all():
        raise ValueError("a weight is not finite")
    others = tuple(place for place in range(weights.ndim) if place != axis % weights.ndim)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    # A channel of zeros, or of numbers so small that their step would be none, is zeros.
    scales = np.maximum(largest / MOST, np.finfo(np.float32).tiny).astype(np.float32)
    values = np.clip(np.rint(weights / scales), -MOST, MOST).astype(np.int8)
    return Quantised(values, scales)
