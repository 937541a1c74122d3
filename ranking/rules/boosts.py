"""Boosts: how rules move the scores of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.query import Mask

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Boost:
    """Moves the candidates in the mask, bool [m], by `strength` standard deviations of the scores. Negative: down."""

    name: str
    mask: Mask
    strength: float


def boosted(scores: Scores, boosts: Sequence[Boost], rotation: Scores | None = None) -> Scores:
    """Moves scores by boosts and rotation.

    Args:
        scores: float64 [m].
        boosts: Boosts, which add up.
        rotation: Standard deviations that each candidate loses, float64 [m]. None: none loses any.

    Returns:
        The scores, float64 [m]. Scores that are not finite stay as they are.
    """
    if not boosts and rotation is None:
        return scores
    moves = np.zeros(len(scores)) if rotation is None else -rotation
    if boosts:
        moves = moves + _by_boost(boosts, [boost.mask for boost in boosts]).sum(axis=0)
    # A score that stays is exactly as it was.
    return np.where(moves == 0, scores, scores + moves * _unit(scores))


def strongest(boosts: Sequence[Boost], candidates: NDArray[np.int64]) -> list[str]:
    """For each of the candidates [k], the name of the boost that moved it most. Empty: none did."""
    if not boosts:
        return [""] * len(candidates)
    moves = np.abs(_by_boost(boosts, [boost.mask[candidates] for boost in boosts]))
    largest = moves.argmax(axis=0).tolist()
    return [boosts[index].name if moves[index, at] else "" for at, index in enumerate(largest)]


def _by_boost(boosts: Sequence[Boost], masks: Sequence[Mask]) -> Scores:
    """Standard deviations that each boost moves each candidate, float64 [boosts, m], for masks [m]."""
    moves: Scores = np.array([boost.strength for boost in boosts])[:, None] * np.stack(masks)
    return moves


def _unit(scores: Scores) -> float:
    """The standard deviation of the finite scores. 1 if they are all equal, so that a boost orders them too."""
    finite = scores[np.isfinite(scores)]
    with np.errstate(over="ignore", invalid="ignore"):
        unit = float(finite.std()) if len(finite) else 0.0
    return unit if np.isfinite(unit) and unit > 0 else 1.0
