"""The user encoder: a gated linear recurrence over events (compare Orvieto et al. 2023, arXiv:2303.06349).

Each event, from its item's vector, its action, its value and the time since the event before, gives a
decay a in (0, 1) and an input b for each of the H channels: h' = a h + b. Neither depends on h. So the final
h is a weighted sum of the inputs, the user vector c + W h is linear in it, and what one event adds to the
user vector is exact. The same h is computed by a scan over all events (training), by suffix sums (a whole
history, serving) and step by step.

Under cosine similarity the user vector is that sum brought to one length: what an event adds to it stays exact.

With a direct way the item's vector itself enters the state too, beside what the network makes of it (a skip connection:
He et al. 2016, arXiv:1512.03385). That part of the user vector begins as a fading mean of what was taken, so lists are
near it from the first step on: where each item has few events, a network alone learns such likeness only slowly.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.network.direction import Direction
from models.network.scan import scan

# Past this an event forgets what was before it: e^-12 is less than float32 tells from one.
_MOST_DECAY = 12.0
_YEAR_LOG_SECONDS = math.log1p(365 * 86400.0)
# Of the copies of items' vectors: half-lives of fourteen events and of a third of one.
_SLOW, _FAST = 0.05, 2.0


class EventFeatures(nn.Module):
    """What is known of an event, from raw values: [.., d + features]. timed: whether the gaps that the model learns
    from are real; else no gap says anything to it, in serving neither."""

    width_added = 5

    def __init__(
        self, actions: int, width: int, value_mean: Tensor, value_scale: Tensor, timed: bool = True
    ) -> None:
        super().__init__()
        self.embedding_width, self.timed = width, timed
        self.action = nn.Embedding(actions + 1, width)
        nn.init.normal_(self.action.weight, std=0.1)
        self.value_mean: Tensor
        self.value_scale: Tensor
        # By action index; row 0 is for actions that are not known.
        self.register_buffer("value_mean", value_mean)
        self.register_buffer("value_scale", value_scale)

    def forward(self, action: Tensor, gap_seconds: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The action's embedding [.., width] and five numbers [.., 5]."""
        has_value = (value == value).to(value.dtype)
        known = torch.where(value == value, value, torch.zeros_like(value))
        scaled = ((known - self.value_mean[action]) / self.value_scale[action]).clamp(-4, 4) * has_value
        if not self.timed:
            gap_seconds = gap_seconds.clamp(0, 1e10) * 0
        gap = torch.log1p(gap_seconds.clamp(0, 1e10)) / _YEAR_LOG_SECONDS
        # Same moment, same sitting, another day: three soft steps of the gap.
        sitting = torch.sigmoid((gap * _YEAR_LOG_SECONDS - math.log(1800.0)) * 2)
        moment = torch.exp(-gap_seconds.clamp(0, 1e10) / 5)
        return self.action(action), torch.stack([has_value, scaled, gap, sitting, moment], -1)


class UserEncoder(nn.Module):
    """See the module. d: width of item and user vectors; S = H: channels of the state."""

    def __init__(
        self,
        width: int,
        channels: int,
        features: EventFeatures,
        hidden: int,
        dropout: float,
        temperature: float | None = None,
        direct: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.channels = width, channels
        self.features = features
        entering = width + features.embedding_width + features.width_added
        self.dropout = nn.Dropout(dropout)
        self.inner = nn.Linear(entering, hidden)
        self.input = nn.Linear(hidden, channels)
        self.decay = nn.Linear(hidden, channels)
        self.output = Direction(channels, width, temperature)
        nn.init.normal_(self.decay.weight, std=0.01)
        # Half-lives from under one event to a hundred, evenly on a log scale.
        rates = torch.exp(torch.linspace(math.log(0.007), math.log(3.0), channels))
        with torch.no_grad():
            self.decay.bias.copy_(torch.log(torch.expm1(rates)))
        self.direct = nn.Linear(width, channels, bias=False) if direct else None
        if self.direct is not None:
            self._begin_with(self.direct)

    def gates(
        self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log a (<= 0) and b of events, [.., H] each."""
        embedded, numbers = self.features(action, gap_seconds, value)
        item = self.dropout(item)
        hidden = functional.gelu(self.inner(torch.cat([item, embedded, numbers], -1)))
        hidden = self.dropout(hidden)
        rate = functional.softplus(self.decay(hidden)).clamp(max=_MOST_DECAY)
        entering = self.input(hidden)
        if self.direct is not None:
            entering = entering + self.direct(item)
        return -rate, (1 - torch.exp(-rate)) * entering

    def vector(self, state: Tensor) -> Tensor:
        """The user vector [.., d] of a state [.., H]."""
        out: Tensor = self.output(state)
        return out

    def step(
        self, state: Tensor, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """State and user vector after one more event; batch dimension first."""
        log_decay, entering = self.gates(item, action, gap_seconds, value)
        state = torch.exp(log_decay) * state + entering
        return state, self.vector(state)

    def fold(
        self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """State [b, H], user vector [b, d] and contributions [b, t, d] of whole histories."""
        log_decay, entering = self.gates(item, action, gap_seconds, value)
        masked = log_decay * mask.unsqueeze(-1)
        # What comes after an event decays it. Sums from the end: those near it are small, and so exact.
        after = torch.flip(torch.cumsum(torch.flip(masked, [1]), 1), [1]) - masked
        weighted = torch.exp(after.clamp(max=0)) * entering * mask.unsqueeze(-1)
        state = weighted.sum(1)
        return state, self.vector(state), self.output.added(weighted)

    def scan(self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """States [b, t, H] after each event."""
        log_decay, entering = self.gates(item, action, gap_seconds, value)
        present = mask.unsqueeze(-1)
        return scan(torch.exp(log_decay * present), entering * present)

    @torch.no_grad()
    def _begin_with(self, direct: nn.Linear) -> None:
        """The channels are copies of the item's vector, one after another, the later ones forgetting faster; the user
        vector is their mean."""
        place, copy = torch.arange(self.channels) % self.width, torch.arange(self.channels) // self.width
        copies = int(copy[-1]) + 1
        same = functional.one_hot(place, self.width).float()
        rates = torch.exp(torch.linspace(math.log(_SLOW), math.log(_FAST), copies))
        self.decay.bias.copy_(torch.log(torch.expm1(rates[copy])))
        direct.weight.copy_(same)
        self.output.linear.weight.copy_(same.T / copies)
        self.output.linear.bias.zero_()
