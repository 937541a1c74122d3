"""The scale on which each user rates, of training rows alone.

The graphs that serve take raw values: this is for what training derives, such as how far a rating is from what was
expected.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RatingScale:
    """How each user rates. means, deviations: float32 [users]; those who have not rated get everyone's."""

    means: Floats
    deviations: Floats
    mean: float
    deviation: float

    def normalised(self, users: Ints, values: Floats) -> Floats:
        """In deviations from the user's mean; NaN stays."""
        return (values - self.means[users]) / self.deviations[users]

    def restored(self, users: Ints, normalised: Floats) -> Floats:
        """Back in stars."""
        return normalised * self.deviations[users] + self.means[users]


def rating_scale(
    known: Events, training: Mask, shrinkage: float = 5.0, action: int | None = None
) -> RatingScale:
    """Mean and deviation of each user's ratings, drawn to everyone's as by `shrinkage` ratings of average kind.

    action: only of this one, an index into `known.action_names`; ratings of different scales have no common mean.
    """
    rows = training & ~np.isnan(known.values)
    if action is not None:
        rows &= known.actions == action
    n = len(known.user_ids)
    if not rows.any():
        return RatingScale(np.zeros(n, np.float32), np.ones(n, np.float32), 0.0, 1.0)
    users, values = known.users[rows], known.values[rows].astype(np.float64)
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    counts = np.bincount(users, minlength=n) + shrinkage
    means = (np.bincount(users, values, n) + shrinkage * mean) / np.where(counts > 0, counts, 1)
    means[counts == 0] = mean
    squares = np.bincount(users, (values - means[users]) ** 2, n)
    spread = (squares + shrinkage * deviation**2) / np.where(counts > 0, counts, 1)
    # Someone who always gives the same rating has no scale of their own.
    deviations = np.where(spread > (0.1 * deviation) ** 2, np.sqrt(spread), deviation)
    return RatingScale(means.astype(np.float32), deviations.astype(np.float32), mean, deviation)
