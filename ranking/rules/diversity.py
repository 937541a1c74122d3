"""Diversity: the order by Maximal Marginal Relevance (Carbonell and Goldstein, SIGIR 1998)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.model import Floats

_POOL_PER_POSITION: Final = 8
_LARGEST_POOL: Final = 1_000


def diversified(
    scores: NDArray[np.float64], vectors: Floats, diversity: float, length: int
) -> NDArray[np.int64]:
    """Orders candidates by Maximal Marginal Relevance.

    Each position takes the candidate with the largest
    (1 - diversity) * its score scaled to 0 to 1 over the pool - diversity * its largest cosine to those above it.
    The pool is the first 8 candidates for each position, at most 1,000. A candidate whose vector is zero resembles
    none.

    Args:
        scores: Finite scores of the candidates, best first, float64 [m].
        vectors: Their vectors, float32 [m, d].
        diversity: 0 to 1.
        length: Number of positions.

    Returns:
        Indices [m]: min(length, m) candidates by Maximal Marginal Relevance, then the others as they were.
    """
    pool = min(len(scores), _POOL_PER_POSITION * length, _LARGEST_POOL)
    steps = min(length, pool)
    order = np.arange(len(scores))
    if not diversity or not steps or not vectors.shape[1]:
        return order
    value = ((1 - diversity) * _scaled(scores[:pool])).astype(np.float32)
    likeness = _cosines(vectors[:pool])
    likeness *= diversity
    penalty, marginal = np.zeros(pool, np.float32), np.empty(pool, np.float32)
    picked = np.empty(steps, np.int64)
    for step in range(steps):
        # Written in place: this loop is most of the cost.
        np.subtract(value, penalty, out=marginal)
        at = picked[step] = int(marginal.argmax())
        value[at] = -np.inf
        if step:
            np.maximum(penalty, likeness[at], out=penalty)
        else:
            penalty[:] = likeness[at]
    return np.concatenate([picked, np.delete(order, picked)])


def _scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores, best first, scaled to 0 to 1. Zeros if they are all equal."""
    best, worst = scores[0], scores[-1]
    # Halved, so that the span of the largest numbers is finite.
    span = best / 2 - worst / 2
    scaled: NDArray[np.float64] = (scores / 2 - worst / 2) / span if span > 0 else np.zeros(len(scores))
    return scaled


def _cosines(vectors: Floats) -> Floats:
    """The cosines [n, n] of vectors [n, d]."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    unit = vectors / np.where(lengths > 0, lengths, np.float32(1))
    cosines: Floats = np.matmul(unit, unit.T, dtype=np.float32)
    return cosines
