"""The ranker: scores each candidate for a user, independently of the other candidates."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.network.mixture import Mixture
from models.network.user_projection import UserProjection


class Ranker(nn.Module):
    """Logits of each action and a predicted value, for candidates.

    The probability of an action is the probability that the user's next event is this action on this item (and
    positive, if the action can be either). It is a product of two factors. The first is how likely the item is: a Platt
    calibration (Platt 1999) of the mixture's score, fitted to held-out lists. The second is which action it would be: a
    network of user and item, which also predicts the value.
    """

    def __init__(
        self,
        *,
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
        # Trained to predict any later positive event, while the user encoder's own vector predicts the next one.
        self.long_term = UserProjection(channels, width, temperature)
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
        self.middle_value, self.half_value_range = (low + high) / 2, max((high - low) / 2, 1e-3)

    def scores(
        self,
        state: Tensor,
        user: Tensor,
        idle_seconds: Tensor,
        candidates: Tensor,
        age_seconds: Tensor,
        popularity: Tensor,
    ) -> Tensor:
        """The mixture's scores [b, m].

        Args:
            state: user states [b, S].
            user: next-item vectors [b, d].
            idle_seconds: [b, 1], -1 without history.
            candidates: item vectors [b, m, d].
            age_seconds: [b, m], -1 if unknown.
            popularity: [b, m, P].
        """
        next_item = (user.unsqueeze(1) * candidates).sum(-1)
        long_term = (self.long_term(state).unsqueeze(1) * candidates).sum(-1)
        out: Tensor = self.mixture(next_item, long_term, popularity, age_seconds, idle_seconds)
        return out

    def actions_and_values(self, state: Tensor, user: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """log P(action | an event on the item) [b, m, A], and the predicted value [b, m]; inputs as in `scores`."""
        item = self.from_item(torch.cat([user.unsqueeze(1) * candidates, candidates], -1))
        hidden = functional.gelu(item + self.from_user(torch.cat([user, state], -1)).unsqueeze(1))
        out = self.last(self.dropout(hidden))
        value = self.middle_value + self.half_value_range * torch.tanh(out[..., -1])
        return functional.log_softmax(out[..., :-1], -1), value

    def action_value_parameters(self) -> list[nn.Parameter]:
        """The parameters of `actions_and_values`."""
        return [*self.from_user.parameters(), *self.from_item.parameters(), *self.last.parameters()]

    def calibrated(self, scores: Tensor) -> Tensor:
        """The logit of an event on the item, given its score."""
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
        action, value = self.actions_and_values(state, user, candidates)
        return self.calibrated(scores).unsqueeze(-1) + action, value
