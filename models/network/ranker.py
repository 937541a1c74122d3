"""The ranker: one user against candidates that do not see each other."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.network.direction import Direction
from models.network.mixture import Mixture


class Ranker(nn.Module):
    """Logits of each action, and the predicted value, for candidates.

    An action's probability is that the user's next event is this action on this item (and a positive one, where
    the action can be either). It is a product: how likely the item is, from the score of the mixture, by a line
    that was fitted to what happened after lists that training had not seen (Platt 1999); and which action it would
    be, from a network of user and item, which predicts the value as well.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        actions: int,
        hidden: int,
        dropout: float,
        value_range: tuple[float, float],
        popularities: int,
        temperature: float | None = None,
        timed: bool = True,
    ) -> None:
        super().__init__()
        # What the user likes in the long run: taught by everything that was to come, not by the next event.
        self.taste = Direction(channels, width, temperature)
        self.mixture = Mixture(popularities, timed)
        # Probabilities start small: a candidate is one of thousands.
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.offset = nn.Parameter(torch.tensor(-8.0))
        self.from_user = nn.Linear(width + channels, hidden)
        self.from_item = nn.Linear(2 * width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, actions + 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        low, high = value_range
        self.middle_value, self.half_value = (low + high) / 2, max((high - low) / 2, 1e-3)

    def scores(
        self,
        state: Tensor,
        user: Tensor,
        idle_seconds: Tensor,
        candidates: Tensor,
        age_seconds: Tensor,
        popularity: Tensor,
    ) -> Tensor:
        """state [b, S], user [b, d], idle_seconds [b, 1], candidates [b, m, d], age_seconds [b, m] and popularity
        [b, m, P] to scores [b, m]."""
        near = (user.unsqueeze(1) * candidates).sum(-1)
        taste = (self.taste(state).unsqueeze(1) * candidates).sum(-1)
        out: Tensor = self.mixture(near, taste, popularity, age_seconds, idle_seconds)
        return out

    def pair(self, state: Tensor, user: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """log P(action | an event on the item) [b, m, A], and the predicted value [b, m]."""
        item = self.from_item(torch.cat([user.unsqueeze(1) * candidates, candidates], -1))
        hidden = functional.gelu(item + self.from_user(torch.cat([user, state], -1)).unsqueeze(1))
        out = self.last(self.dropout(hidden))
        value = self.middle_value + self.half_value * torch.tanh(out[..., -1])
        return functional.log_softmax(out[..., :-1], -1), value

    def pair_parameters(self) -> list[nn.Parameter]:
        """Those of `pair`."""
        return [*self.from_user.parameters(), *self.from_item.parameters(), *self.last.parameters()]

    def calibrated(self, scores: Tensor) -> Tensor:
        """The logit of an event on the item, of scores."""
        return self.slope.clamp(min=1e-3) * scores + self.offset

    def forward(
        self,
        state: Tensor,
        user: Tensor,
        idle_seconds: Tensor,
        candidates: Tensor,
        age_seconds: Tensor,
        popularity: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits [b, m, A] and predicted values [b, m]; inputs as in `scores`."""
        scores = self.scores(state, user, idle_seconds, candidates, age_seconds, popularity)
        action, value = self.pair(state, user, candidates)
        return self.calibrated(scores).unsqueeze(-1) + action, value
