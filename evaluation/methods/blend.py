"""From the ranker's probabilities to one number, as ranking/scorers/blend.py has it."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.data.events import Floats
from profiles.actions import Action


class Blend:
    """Each action's probability times its weight, summed; an action without settings counts nothing. With
    `rating_weight` a rated action counts for more where the predicted value is above where it is positive."""

    def __init__(self, names: Sequence[str], actions: Mapping[str, Action], rating_weight: float) -> None:
        self._weights = np.array([actions[name].weight if name in actions else 0.0 for name in names])
        self._rating_weight = rating_weight
        self._likings: list[tuple[int, list[float], list[float]]] = []
        for place, name in enumerate(names) if rating_weight else ():
            action = actions.get(name)
            if action is not None and action.positive_from is not None and action.value_range is not None:
                low, high = action.value_range
                ends = {low: -1.0, high: 1.0} | {action.positive_from: 0.0}
                at = sorted(ends)
                self._likings.append((place, at, [ends[value] for value in at]))

    def scores(self, probabilities: Floats, values: Floats) -> Floats:
        """probabilities [b, m, A] and predicted values [b, m] to [b, m]."""
        found = probabilities.astype(np.float64) @ self._weights
        for place, at, likings in self._likings:
            weight = self._rating_weight * self._weights[place]
            found += weight * probabilities[..., place] * np.interp(values, at, likings)
        blended: Floats = found.astype(np.float32)
        return blended
