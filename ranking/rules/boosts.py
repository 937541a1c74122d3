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
    moves = np.zeros(len(scores)) if rotation is None else -rotation
    for boost in boosts:
        moves[boost.mask] += boost.strength
    # A score that stays is exactly as it was.
    return np.where(moves == 0, scores, scores + moves * _unit(scores))


def strongest(boosts: Sequence[Boost], candidates: NDArray[np.int64]) -> list[str]:
    """For each of the candidates [k], the name of the boost that moved it most. Empty: none did."""
    names = [""] * len(candidates)
    most = np.zeros(len(candidates))
    for boost in boosts:
        strength = abs(boost.strength) * boost.mask[candidates]
        for at in np.flatnonzero(strength > most).tolist():
            names[at] = boost.name
        most = np.maximum(most, strength)
    return names


def _unit(scores: Scores) -> float:
    """The standard deviation of the finite scores. 1 if they are all equal, so that a boost orders them too."""
    finite = scores[np.isfinite(scores)]
    with np.errstate(over="ignore", invalid="ignore"):
        unit = float(finite.std()) if len(finite) else 0.0
    return unit if np.isfinite(unit) and unit > 0 else 1.0
