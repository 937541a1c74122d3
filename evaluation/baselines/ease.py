"""EASE: an item-to-item model with a closed form (Steck 2019, arXiv:1905.03375)."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.gram import gram
from models.data.events import Floats, Ints


def ease(users: Ints, items: Ints, weights: Floats, count: int, strength: float) -> NDArray[np.float32]:
    """Item-to-item weights B with a zero diagonal that minimise |X - XB|^2 + strength |B|^2.

    Args:
        users, items, weights: The entries of X, each [n]; see `gram`.
        count: Number of items.
        strength: Lambda of the paper, above 0.

    Returns:
        float32 [count, count]. Items without an entry have weight 0 with all others.

    Raises:
        TooManyItems: See `gram`.
    """
    occurring = np.flatnonzero(np.bincount(items, minlength=count))
    column = np.searchsorted(occurring, items)
    # float64, because the entries of the matrix to invert span five orders of magnitude.
    matrix = gram(users, column, weights, len(occurring)).astype(np.float64)
    matrix[np.diag_indices(len(occurring))] += strength
    inverse = np.linalg.inv(matrix)
    small = inverse / -np.diag(inverse)[None, :]
    np.fill_diagonal(small, 0)
    found = np.zeros((count, count), np.float32)
    found[np.ix_(occurring, occurring)] = small
    return found
