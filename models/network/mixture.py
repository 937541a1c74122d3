"""What a list is ordered by: near taste, lasting taste, popularity and age, weighed by the idle time."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Popularity below a tenth of an event counts as none.
_LEAST_POPULARITY = 0.1
_YEAR_LOG_SECONDS = math.log1p(365 * 86400.0)
_YEAR_LOG_DAYS = math.log1p(365.0)
_IDLE = 4


class Mixture(nn.Module):
    """Scores of candidates, comparable within a list.

    In the middle of a sitting what comes next follows from what was just done; after days it follows from what
    the user has always liked, and from what everybody likes now. So the weights of the parts are a small network's
    answer to the idle time. Where there is no history they mean nothing, and popularity alone decides: the
    half-life in the middle of `popularities`.

    At first the near taste alone counts. timed: whether the times that it learns from are real; else the idle time says
    no more than whether there is a history, and popularity orders nothing but the lists of those without one.
    """

    def __init__(self, popularities: int, timed: bool = True) -> None:
        super().__init__()
        self.timed = timed
        self.middle = popularities // 2
        last = nn.Linear(32, 4 + popularities)
        self.weights = nn.Sequential(nn.Linear(_IDLE, 32), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(functional.one_hot(torch.tensor(0), 4 + popularities))

    def forward(
        self, near: Tensor, taste: Tensor, popularity: Tensor, age_seconds: Tensor, idle_seconds: Tensor
    ) -> Tensor:
        """near, taste and age_seconds [b, m], popularity [b, m, P] and idle_seconds [b, 1] (-1: no history) to
        scores [b, m]."""
        popular = torch.log(popularity.clamp(0, 1e12) + _LEAST_POPULARITY)
        has_age = (age_seconds >= 0).to(popular.dtype)
        age = torch.log1p(age_seconds.clamp(0, 1e11) / 86400) / _YEAR_LOG_DAYS * has_age
        parts = torch.stack([near, taste, has_age, age], -1)
        # Popularity that was nothing all through training has the weights that rounding gave it.
        parts = torch.cat([parts, popular if self.timed else torch.zeros_like(popular)], -1)
        weights = self.weights(
            self._idle(idle_seconds if self.timed else idle_seconds.clamp(0, 0))
        ).unsqueeze(1)
        known = idle_seconds >= 0
        return torch.where(known, (parts * weights).sum(-1), popular[..., self.middle])

    @staticmethod
    def _idle(seconds: Tensor) -> Tensor:
        """Same moment, same sitting, another day, and how long: [b, 4]."""
        known = seconds.clamp(0, 1e10)
        length = torch.log1p(known) / _YEAR_LOG_SECONDS
        return torch.cat(
            [torch.exp(-known / 5), torch.sigmoid(known / 600 - 3), torch.sigmoid(known / 14400 - 3), length],
            -1,
        )
