"""How often two items occur in the same history: the matrix that item-kNN and EASE are computed from."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.errors import TooManyItems
from models.data.events import Floats, Ints

_USERS_A_BLOCK = 64
ITEMS_AT_MOST = 40_000


def gram(users: Ints, items: Ints, weights: Floats, count: int) -> NDArray[np.float32]:
    """X^T X of the sparse matrix X of users by items.

    Users are taken in blocks. Each block is a dense matrix over the few items that its users have.

    Args:
        users, items, weights: The entries of X, each [n]. Weights are above 0. If a pair of user and item repeats, its
            largest weight counts.
        count: Number of items.

    Returns:
        float32 [count, count].

    Raises:
        TooManyItems: The result would not fit into the memory of an ordinary machine.
    """
    if count > ITEMS_AT_MOST:
        raise TooManyItems(
            f"item-to-item baselines hold a dense matrix over items: {count:,} items are more than {ITEMS_AT_MOST:,}"
        )
    found = np.zeros((count, count), np.float32)
    order = np.argsort(users, kind="stable")
    users, items, weights = users[order], items[order], weights[order]
    names, starts = np.unique(users, return_index=True)
    bounds = np.append(starts, len(users))
    for first in range(0, len(names), _USERS_A_BLOCK):
        last = min(first + _USERS_A_BLOCK, len(names))
        part = slice(bounds[first], bounds[last])
        present, columns = np.unique(items[part], return_inverse=True)
        rows = np.searchsorted(names[first:last], users[part])
        block = np.zeros((last - first, len(present)), np.float32)
        np.maximum.at(block, (rows, columns), weights[part])
        found[np.ix_(present, present)] += block.T @ block
    return found
