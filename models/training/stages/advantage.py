"""Likelihood weighed by advantage: what was better than expected is made likelier, what was worse less likely.

For user i, item j, rating r and the rating head's prediction r̂, held fixed in this term:

    L = -Σ A⁺ log p - Σ A⁻ log(1 - p),    A = (r - r̂) / s_i,    A⁺ = max(A, 0),    A⁻ = max(-A, 0)

s_i is how widely the user's own ratings spread. For A > 0 this is the gradient of Σ A log p. For A < 0 that sum has no
bound: p falls for ever, and the worst events rule all others. -log(1 - p) pushes the same way and is done once p is
small (compare unlikelihood, Welleck et al. 2020, arXiv:1908.04319, section 5.1). The form with the prediction as
baseline is that of advantage-weighted policy gradients (Williams 1992; Sutton et al. 2000).
"""

import numpy as np
import torch
from torch import Tensor

from models.data.events import Events, Ints
from models.data.rating_scales import rating_scale
from models.network.ranker import Ranker

# An event without a rating says only that the item was chosen.
_CHOSEN = 1.0
_LEAST = 1e-6


class Critic:
    """The rating head in the course of the first stage: trained beside the encoder, which it does not move."""

    def __init__(self, events: Events) -> None:
        spread = rating_scale(events, np.ones(len(events), np.bool_)).deviations
        self._values, self._spread = events.values, spread[events.users]

    def judge(
        self, ranker: Ranker, rows: Ints, before: Tensor, users: Tensor, items: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Advantages [b] of the events `rows`, told from states [b, S], user vectors and item vectors [b, d]; and the
        head's squared errors [b], as a share of half the range, 0 where there is no rating."""
        _, predicted = ranker.pair(before.detach(), users.detach(), items.detach().unsqueeze(1))
        values = torch.from_numpy(self._values[rows]).to(before.device)
        valued = ~values.isnan()
        error = torch.where(valued, values.nan_to_num() - predicted[:, 0], 0.0)
        advantage = torch.where(
            valued, error.detach() / torch.from_numpy(self._spread[rows]).to(before.device), _CHOSEN
        )
        return advantage, (error / ranker.half_value) ** 2


def weighed(minus_log_p: Tensor, advantage: Tensor) -> Tensor:
    """The loss above of each event [b]: never negative, and bounded where the advantage is."""
    better = advantage.clamp(min=0) * minus_log_p
    other = -torch.log((-torch.expm1(-minus_log_p)).clamp(min=_LEAST))
    return better + (-advantage).clamp(min=0) * other
