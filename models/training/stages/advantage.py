"""Likelihood weighted by advantage: events better than expected become likelier, worse ones less likely.

For user i, item j, rating r and the prediction r̂ of the ranker's value head, which this term does not train:

    L = -Σ A⁺ log p - Σ A⁻ log(1 - p),    A = (r - r̂) / s_i,    A⁺ = max(A, 0),    A⁻ = max(-A, 0)

s_i is the spread of the user's own ratings. For A > 0 the gradient is that of Σ A log p, the advantage-weighted policy
gradient with the prediction as baseline (Williams 1992; Sutton et al. 2000). For A < 0 that sum is unbounded: p would
fall forever, and the worst events would dominate. -log(1 - p) pushes the same way and vanishes once p is small (compare
unlikelihood training, Welleck et al. 2020, arXiv:1908.04319, section 5.1).

Off by default (`train.advantage`); docs/experiments.md has its figures.
"""

import numpy as np
import torch
from torch import Tensor

from models.data.events import Events, Floats, Ints
from models.network.ranker import Ranker

# An event without a rating says only that the item was chosen.
_UNRATED_ADVANTAGE = 1.0
_MIN_PROBABILITY = 1e-6
# Number of ratings of average spread that are added to each user's own.
_SHRINKAGE = 5.0


class Critic:
    """Advantages of events by the ranker's value head. The head trains with the encoder, without changing it."""

    def __init__(self, events: Events) -> None:
        self._values, self._spread = events.values, rating_spread(events)[events.users]

    def advantages(
        self, ranker: Ranker, rows: Ints, states: Tensor, users: Tensor, items: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Advantages of events, and the value head's squared errors.

        Args:
            ranker: has the value head.
            rows: rows of b events.
            states: user states before them [b, S].
            users: next-item vectors before them [b, d].
            items: vectors of their items [b, d].

        Returns:
            Advantages [b], and squared errors [b] in units of half the value range; 0 for an event without a rating.
        """
        _, predicted = ranker.actions_and_values(states.detach(), users.detach(), items.detach().unsqueeze(1))
        values = torch.from_numpy(self._values[rows]).to(states.device)
        rated = ~values.isnan()
        error = torch.where(rated, values.nan_to_num() - predicted[:, 0], 0.0)
        spread = torch.from_numpy(self._spread[rows]).to(states.device)
        advantage = torch.where(rated, error.detach() / spread, _UNRATED_ADVANTAGE)
        return advantage, (error / ranker.half_value_range) ** 2


def advantage_loss(minus_log_p: Tensor, advantage: Tensor) -> Tensor:
    """The loss of each event [b]; see the module. It is never negative, and bounded if the advantage is."""
    better = advantage.clamp(min=0) * minus_log_p
    unlikelihood = -torch.log((-torch.expm1(-minus_log_p)).clamp(min=_MIN_PROBABILITY))
    return better + (-advantage).clamp(min=0) * unlikelihood


def rating_spread(events: Events, shrinkage: float = _SHRINKAGE) -> Floats:
    """The deviation of each user's ratings [users], shrunk to that of all ratings.

    Args:
        events: events with or without ratings.
        shrinkage: number of ratings of average mean and spread that are added to the user's own.
    """
    rows = ~np.isnan(events.values)
    n = len(events.user_ids)
    if not rows.any():
        return np.ones(n, np.float32)
    users, values = events.users[rows], events.values[rows].astype(np.float64)
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    counts = np.bincount(users, minlength=n) + shrinkage
    means = (np.bincount(users, values, n) + shrinkage * mean) / np.where(counts > 0, counts, 1)
    means[counts == 0] = mean
    squares = np.bincount(users, (values - means[users]) ** 2, n)
    variance = (squares + shrinkage * deviation**2) / np.where(counts > 0, counts, 1)
    # A user who always gives the same rating has no spread of their own.
    spread = np.where(variance > (0.1 * deviation) ** 2, np.sqrt(variance), deviation)
    found: Floats = spread.astype(np.float32)
    return found
