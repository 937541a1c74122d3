"""Vectors and the plain scan that the index is compared with."""

import numpy as np
from numpy.typing import NDArray

from catalog.index.live import LiveIndex


def merge(index: LiveIndex) -> bool:
    due = index.due()
    if due is not None:
        index.install(due, index.make(due, lambda: True))
    return due is not None


def clustered(rng: np.random.Generator, size: int, width: int = 16) -> NDArray[np.float32]:
    centres = rng.normal(size=(max(2, size // 100), width))
    return (centres[rng.integers(0, len(centres), size)] + 0.4 * rng.normal(size=(size, width))).astype(
        np.float32
    )


def exact(
    data: NDArray[np.float32], query: NDArray[np.float32], count: int, mask: NDArray[np.bool_]
) -> list[int]:
    rows = np.flatnonzero(mask)
    order: list[int] = rows[np.argsort(-(data[rows] @ query), kind="stable")][:count].tolist()
    return order
