"""The ranker: one user against candidates that do not see each other."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_YEAR_LOG_DAYS = math.log1p(365.0)
# Popularity below a hundredth of an event counts as none.
_LEAST_POPULARITY = 0.01


class Ranker(nn.Module):
    """Logits of each action, and the predicted value, for candidates.

    An action's probability is that the user's next event is this action on this item (and a positive one,
    where the action can be either), among candidates like those it was trained on.

    What is simple enters simply: a weighted inner product of user vector and item vector, and the logarithm
    of popularity, are added to what a small network makes of everything together. So a user of whom nothing
    is known gets, in essence, the popular items.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        actions: int,
        hidden: int,
        dropout: float,
        value_range: tuple[float, float],
    ) -> None:
        super().__init__()
        self.actions = actions
        self.from_user = nn.Linear(width + channels, hidden)
        self.from_item = nn.Linear(2 * width + 5, hidden)
        self.dropout = nn.Dropout(dropout)
        self.middle = nn.Linear(hidden, hidden // 2)
        self.last = nn.Linear(hidden // 2, actions + 1)
        self.simple = nn.Linear(2, actions)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.simple.weight.copy_(torch.tensor([[1.0, 0.3]]).expand(actions, 2))
            # Probabilities start small: a candidate is one of thousands.
            self.simple.bias.fill_(-8.0)
        low, high = value_range
        self.middle_value, self.half_value = (low + high) / 2, max((high - low) / 2, 1e-3)

    def forward(
        self, state: Tensor, user: Tensor, candidates: Tensor, age_seconds: Tensor, popularity: Tensor
    ) -> tuple[Tensor, Tensor]:
        """state [b, S], user [b, d], candidates [b, m, d], age_seconds and popularity [b, m] to logits
        [b, m, A] and predicted values [b, m]."""
        product = user.unsqueeze(1) * candidates
        similarity = product.sum(-1)
        popular = torch.log(popularity.clamp(0, 1e12) + _LEAST_POPULARITY)
        has_age = (age_seconds >= 0).to(popular.dtype)
        age = torch.log1p(age_seconds.clamp(0, 1e11) / 86400) / _YEAR_LOG_DAYS * has_age
        numbers = torch.stack([similarity, popular / 5, (popular / 5) ** 2, has_age, age], -1)
        hidden = self.from_item(torch.cat([product, candidates, numbers], -1))
        hidden = hidden + self.from_user(torch.cat([user, state], -1)).unsqueeze(1)
        hidden = functional.gelu(self.middle(functional.gelu(hidden)))
        out = self.last(self.dropout(hidden))
        simple = self.simple(torch.stack([similarity, popular], -1))
        value = self.middle_value + self.half_value * torch.tanh(out[..., -1])
        return simple + out[..., :-1], value
