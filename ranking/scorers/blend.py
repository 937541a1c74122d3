"""Blends the ranker's predictions into one score."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inference.bundle.bundle import Manifest
from inference.model import Ranking
from profiles.actions import Action
from ranking.settings import SurfaceSettings


def blend(
    ranking: Ranking, manifest: Manifest, actions: Mapping[str, Action], settings: SurfaceSettings
) -> NDArray[np.float64]:
    """The score of each candidate: the sum over actions of probability times weight.

    An action without settings has weight 0. With `rating_weight`, each rated action adds weight * probability *
    liking * rating_weight. Liking is the predicted value, scaled so that the ends of its range are -1 and 1, and
    `positive_from` is 0.

    Args:
        ranking: The predictions for one list: probabilities [m, A] and predicted values [m].
        manifest: Names the A actions.
        actions: Settings of actions by name.
        settings: Settings of the surface. Its `action_weights` override the weights in `actions`.

    Returns:
        Scores, float64 [m].
    """
    known = [(at, actions[name]) for at, name in enumerate(manifest.actions) if name in actions]
    names = manifest.actions
    weights = np.zeros(len(names))
    for at, action in known:
        weights[at] = settings.action_weights.get(names[at], action.weight)
    probabilities = ranking.probabilities.astype(np.float64)
    scores = probabilities @ weights
    if settings.rating_weight:
        for at, action in known:
            if action.positive_from is not None and action.value_range is not None:
                liking = _liking(
                    ranking.predicted_value.astype(np.float64), action.positive_from, action.value_range
                )
                scores += settings.rating_weight * weights[at] * probabilities[:, at] * liking
    return scores


def _liking(values: NDArray[np.float64], middle: float, scale: tuple[float, float]) -> NDArray[np.float64]:
    low, high = scale
    return np.interp(values, sorted({low, middle, high}), _ends(low, middle, high))


def _ends(low: float, middle: float, high: float) -> list[float]:
    # If `positive_from` is an end of the range, there is only one side.
    return [-1.0] * (low < middle) + [0.0] + [1.0] * (middle < high)
