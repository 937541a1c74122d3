"""The teacher's user encoder: causal self-attention over events (Vaswani et al. 2017; Kang and McAuley 2018), and the
served model's recurrence over what these become (compare De et al. 2024, arXiv:2402.19427, which mixes the two).

That recurrence knows an event by itself alone; here each has seen those before it first. What attention adds to an
item's vector begins as nothing, so before anything is learned this is the served model.

Blocks normalise before (Xiong et al. 2020, arXiv:2002.04745). What is where in a window says nothing, for windows begin
anywhere: a head weighs an event by how many events and how much time lie between (compare Press et al. 2022,
arXiv:2108.12409, where the slopes are fixed; here every distance has a number of its own, which begins on a slope).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.network.direction import Direction
from models.network.user_encoder import EventFeatures, UserEncoder

# Channels of the recurrence for each number of an item's vector.
_COPIES = 3
_DISTANCES = 128
_LAGS = 32
# Buckets of time on a log scale, up to about ten years.
_LAGS_PER_E = (_LAGS - 1) / math.log1p(3e8)
_STEEPEST, _FLATTEST = 0.5, 0.004


class Nearness(nn.Module):
    """What is added to attention's logits: for each head by events between, and by time between."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        slopes = torch.exp(torch.linspace(math.log(_STEEPEST), math.log(_FLATTEST), heads))
        self.by_distance = nn.Parameter(-slopes * torch.arange(_DISTANCES)[:, None])
        self.by_lag = nn.Parameter(torch.zeros(_LAGS, heads))

    def forward(self, distance: Tensor, lag: Tensor) -> Tensor:
        """Indices [t, t] and [b, t, t] to [b, heads, t, t]."""
        added = functional.embedding(distance, self.by_distance) + functional.embedding(lag, self.by_lag)
        out: Tensor = added.movedim(-1, 1)
        return out


class Block(nn.Module):
    """Attention, then a network on each place; both add to what goes through."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.nearness = Nearness(heads)
        self.entering, self.leaving = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        _begin_as_it_is(self.entering, 2 * width)
        _begin_as_it_is(self.leaving)

    def forward(self, hidden: Tensor, distance: Tensor, lag: Tensor, unseen: Tensor) -> Tensor:
        """hidden [b, t, w]; unseen [b, 1, t, t]: which place [.., i, j] must not look where."""
        parts = self.entering(self.first(hidden)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        logits = query @ key.mT / math.sqrt(query.shape[-1]) + self.nearness(distance, lag)
        weights = torch.softmax(logits.masked_fill(unseen, -torch.inf), -1)
        hidden = hidden + self.dropout(self.leaving((weights @ value).transpose(1, 2).flatten(2)))
        inner = self.dropout(functional.gelu(self.inner(self.second(hidden))))
        out: Tensor = hidden + self.dropout(self.outer(inner))
        return out


class AttentionEncoder(nn.Module):
    """Attention, then the recurrence: states [b, t, 3 w], one a place, from the events up to it."""

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        features: EventFeatures,
        dropout: float,
        temperature: float | None,
    ) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.entering = nn.Linear(width + features.embedding_width + features.width_added, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        self.leaving = nn.Linear(width, width)
        channels = _COPIES * width
        self.memory = UserEncoder(width, channels, features, 2 * width, dropout, temperature, direct=True)
        self.taste = Direction(channels, width, temperature)
        _begin_as_it_is(self.entering)
        nn.init.zeros_(self.leaving.weight)
        nn.init.zeros_(self.leaving.bias)

    def forward(
        self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor, mask: Tensor
    ) -> Tensor:
        """Item vectors [b, t, w], the rest [b, t]."""
        embedded, numbers = self.features(action, gap_seconds, value)
        hidden = self.dropout(self.entering(torch.cat([item, embedded, numbers], -1)))
        distance, lag, unseen = _between(gap_seconds, mask)
        for block in self.blocks:
            hidden = block(hidden, distance, lag, unseen)
        return self.memory.scan(item + self.leaving(self.last(hidden)), action, gap_seconds, value, mask)

    def near(self, state: Tensor) -> Tensor:
        """User vectors [.., w] of states."""
        return self.memory.vector(state)


@torch.no_grad()
def _begin_as_it_is(linear: nn.Linear, first: int = 0) -> None:
    """The outputs from `first` on begin as the inputs, as many as there are of both: what attention finds begins as a
    decaying mean of the item vectors."""
    count = min(linear.in_features, linear.out_features - first)
    linear.weight[first:].mul_(0.1)
    linear.weight[first : first + count, :count] += torch.eye(count)
    linear.bias[first:].zero_()


def _between(gap_seconds: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each place i and each j before it: buckets of the events [t, t] and of the time [b, t, t] between, and what
    i must not see [b, 1, t, t]: later places, and those without an event. Itself it sees always, or else a place
    without an event would see nothing, which has no softmax."""
    length = mask.shape[1]
    place = torch.arange(length, device=mask.device)
    apart = place[:, None] - place
    # Doubles: seconds of years, of which single ones count.
    at = torch.cumsum(gap_seconds.double() * mask, 1)
    lag = torch.log1p((at[:, :, None] - at[:, None, :]).clamp(min=0)) * _LAGS_PER_E
    unseen = (apart < 0) | (mask[:, None, :] == 0) & (apart != 0)
    return apart.clamp(0, _DISTANCES - 1), lag.long().clamp(max=_LAGS - 1), unseen.unsqueeze(1)
