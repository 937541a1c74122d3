"""From the ranker's probabilities to one number."""

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
    """Scores [m]: each action's probability times its weight, summed. An action without settings counts
    nothing.

    With `rating_weight`, each rated action adds weight * probability * liking * rating_weight, where
    liking is where the predicted value lies between the scale's ends (-1, 1) with 0 at `positive_from`.
    """
    known = [(place, actions[name]) for place, name in enumerate(manifest.actions) if name in actions]
    names = manifest.actions
    weights = np.zeros(len(names))
    for place, action in known:
        weights[place] = settings.action_weights.get(names[place], action.weight)
    probabilities = ranking.probabilities.astype(np.float64)
    scores = probabilities @ weights
    if settings.rating_weight:
        for place, action in known:
            if action.positive_from is not None and action.value_range is not None:
                liking = _liking(
                    ranking.predicted_value.astype(np.float64), action.positive_from, action.value_range
                )
                scores += settings.rating_weight * weights[place] * probabilities[:, place] * liking
    return scores


def _liking(values: NDArray[np.float64], middle: float, scale: tuple[float, float]) -> NDArray[np.float64]:
    low, high = scale
    return np.interp(values, sorted({low, middle, high}), _ends(low, middle, high))


def _ends(low: float, middle: float, high: float) -> list[float]:
    # A scale that begins or ends where it is positive has one side only.
    return [-1.0] * (low < middle) + [0.0] + [1.0] * (middle < high)
