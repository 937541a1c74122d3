"""The scales on which training sees ratings and time gaps, of training rows alone.

The graphs that serve take raw values and raw gaps: these are for what training derives, such as the target of a
rating head.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data import Events, Floats, Ints

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


@dataclass(frozen=True, slots=True)
class GapScale:
    """Time gaps as log(1 + seconds), in deviations from the mean over training."""

    mean: float
    deviation: float

    def normalised(self, seconds: Floats) -> Floats:
        """Negative gaps count as none."""
        logs = np.log1p(np.maximum(seconds, 0))
        return ((logs - self.mean) / self.deviation).astype(np.float32)


def gap_scale(known: Events, training: Mask) -> GapScale:
    """Of the gaps between neighbouring training events of a user."""
    rows = np.flatnonzero(training)
    order = rows[np.argsort(known.users[rows], kind="stable")]
    same = np.diff(known.users[order]) == 0
    logs = np.log1p(np.maximum(np.diff(known.time_ms[order])[same], 0) / 1000)
    if not len(logs):
        return GapScale(0.0, 1.0)
    return GapScale(float(logs.mean()), float(logs.std()) or 1.0)
