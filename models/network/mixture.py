"""The ranking mixture: weights the next-item and long-term logits, popularity and age by the user's idle time."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Popularity below a tenth of an event counts as none.
_MIN_POPULARITY = 0.1
_YEAR_LOG_SECONDS = math.log1p(365 * 86400.0)
_YEAR_LOG_DAYS = math.log1p(365.0)
_IDLE_FEATURES = 4


class Mixture(nn.Module):
    """Scores of candidates that are comparable within a list.

    Within a session, the last items predict the next one. After days, the user's long-term taste and current popularity
    do. So a small network gates the features by the idle time. A user without history has no idle time, so the score is
    only the popularity of the middle half-life.

    Before training, only the next-item logit counts.
    """

    def __init__(self, popularities: int, timed: bool = True) -> None:
        """
        Args:
            popularities: P, half-lives of popularity.
            timed: whether the training's times are real. If not, the idle time only says whether there is a history,
                and popularity ranks only the lists of users without one.
        """
        super().__init__()
        self.timed = timed
        self.middle = popularities // 2
        last = nn.Linear(32, 4 + popularities)
        self.weights = nn.Sequential(nn.Linear(_IDLE_FEATURES, 32), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(functional.one_hot(torch.tensor(0), 4 + popularities))

    def forward(
        self,
        next_item: Tensor,
        long_term: Tensor,
        popularity: Tensor,
        age_seconds: Tensor,
        idle_seconds: Tensor,
    ) -> Tensor:
        """Scores [b, m].

        Args:
            next_item: logits [b, m] that the candidate comes next.
            long_term: logits [b, m] that it comes at any later time.
            popularity: [b, m, P], number of events weighted by age.
            age_seconds: [b, m], seconds since publication; negative: unknown.
            idle_seconds: [b, 1], seconds since the user's last event; negative: no history.
        """
        log_popularity = torch.log(popularity.clamp(0, 1e12) + _MIN_POPULARITY)
        has_age = (age_seconds >= 0).to(log_popularity.dtype)
        age = torch.log1p(age_seconds.clamp(0, 1e11) / 86400) / _YEAR_LOG_DAYS * has_age
        features = torch.stack([next_item, long_term, has_age, age], -1)
        # Popularity that was zero throughout the training has weights that are rounding errors.
        popular = log_popularity if self.timed else torch.zeros_like(log_popularity)
        features = torch.cat([features, popular], -1)
        weights = self.weights(
            self._idle_features(idle_seconds if self.timed else idle_seconds.clamp(0, 0))
        ).unsqueeze(1)
        has_history = idle_seconds >= 0
        return torch.where(has_history, (features * weights).sum(-1), log_popularity[..., self.middle])

    @staticmethod
    def _idle_features(seconds: Tensor) -> Tensor:
        """Features of the idle time [b, 4]: same moment, same session, another day, and log time."""
        idle = seconds.clamp(0, 1e10)
        length = torch.log1p(idle) / _YEAR_LOG_SECONDS
        return torch.cat(
            [torch.exp(-idle / 5), torch.sigmoid(idle / 600 - 3), torch.sigmoid(idle / 14400 - 3), length],
            -1,
        )
