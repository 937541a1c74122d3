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
    """Similarity [count, count] of a history's item (row) with a candidate (column).

    S[i, j] = C[i, j] / (C[i, i]^leaning * C[j, j]^(1 - leaning) + shrinkage), C = X^T X: the cosine at
    leaning .5; above, popular candidates gain (Aiolli's asymmetric cosine). Each candidate keeps its
    `neighbours` most similar items, as in Deshpande and Karypis (2004); the diagonal is 0.
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
