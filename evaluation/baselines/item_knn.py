"""Nearest items by shrunk cosine over users."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.gram import gram
from models.data.events import Floats, Ints


def item_knn(
    users: Ints,
    items: Ints,
    weights: Floats,
    count: int,
    *,
    neighbours: int,
    shrinkage: float,
    leaning: float,
) -> NDArray[np.float32]:
    """Similarity of an item of a history (row) to a candidate (column).

    S[i, j] = C[i, j] / (C[i, i]^leaning * C[j, j]^(1 - leaning) + shrinkage), where C = X^T X. The diagonal is 0.

    Args:
        users, items, weights: The entries of X, each [n]; see `gram`.
        count: Number of items.
        neighbours: Most similar items that each candidate keeps, as in Deshpande and Karypis (2004).
        shrinkage: Lowers the similarity of items with few users.
        leaning: 0.5 is the cosine. Above, popular candidates gain (Aiolli's asymmetric cosine).

    Returns:
        float32 [count, count].

    Raises:
        TooManyItems: See `gram`.
    """
    similarity = gram(users, items, weights, count)
    own = np.diag(similarity).copy()
    np.fill_diagonal(similarity, 0)
    scale = np.power(own, leaning)[:, None] * np.power(own, 1 - leaning)[None, :] + np.float32(shrinkage)
    np.divide(similarity, scale, out=similarity, where=scale > 0)
    if neighbours < count:
        least = np.partition(similarity, count - neighbours, axis=0)[count - neighbours]
        similarity[similarity < least[None, :]] = 0
    return similarity
