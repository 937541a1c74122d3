"""The user encoder: a gated linear recurrence over events (compare the LRU, Orvieto et al. 2023, arXiv:2303.06349).

From an event's item vector, action, value and time gap a network computes a decay a in (0, 1) and an input b for each
of the S channels: h' = a h + b. Neither depends on h. So the final h is a weighted sum of the inputs, the user vector c
+ W h is linear in it, and the contribution of one event to the user vector is exact. There are three equal forms: a
scan over all events (training), suffix sums over a whole history (`fold`, serving), and one step for one event (`step`,
serving).

With cosine similarity the user vector is that sum, normalised and scaled. Contributions stay exact.

The item skip connection adds the item's vector itself to the input (compare He et al. 2016, arXiv:1512.03385). That
part of the user vector starts as a decaying mean of the item vectors, so lists are near the history before training.
With few events for each item a network alone learns this similarity slowly.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.network.scan import linear_scan
from models.network.user_projection import UserProjection

# At this decay an event erases what was before it: e^-12 is below float32's resolution at one.
_MAX_DECAY_RATE = 12.0
_YEAR_LOG_SECONDS = math.log1p(365 * 86400.0)
# Decay rates of the copies of item vectors: half-lives of fourteen events and of a third of an event.
_SLOW, _FAST = 0.05, 2.0


class EventFeatures(nn.Module):
    """Features of an event besides its item: the action's embedding, and five numbers of value and time gap."""

    width_added = 5

    def __init__(
        self, actions: int, width: int, value_mean: Tensor, value_scale: Tensor, timed: bool = True
    ) -> None:
        """
        Args:
            actions: A, number of actions.
            width: width of the action's embedding.
            value_mean: mean of each action's values [A + 1]; row 0 is for unknown actions.
            value_scale: deviation of each action's values [A + 1].
            timed: whether the training's times are real. If not, gaps are ignored, in serving too.
        """
        super().__init__()
        self.embedding_width, self.timed = width, timed
        self.action = nn.Embedding(actions + 1, width)
        nn.init.normal_(self.action.weight, std=0.1)
        self.value_mean: Tensor
        self.value_scale: Tensor
        self.register_buffer("value_mean", value_mean)
        self.register_buffer("value_scale", value_scale)

    def forward(self, action: Tensor, gap_seconds: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The action's embedding [.., width] and five numbers [.., 5], of inputs [..]. A missing value is NaN."""
        has_value = (value == value).to(value.dtype)
        known = torch.where(value == value, value, torch.zeros_like(value))
        scaled = ((known - self.value_mean[action]) / self.value_scale[action]).clamp(-4, 4) * has_value
        if not self.timed:
            gap_seconds = gap_seconds.clamp(0, 1e10) * 0
        gap = torch.log1p(gap_seconds.clamp(0, 1e10)) / _YEAR_LOG_SECONDS
        # Soft steps of the gap: same moment, same session, another day.
        same_session = torch.sigmoid((gap * _YEAR_LOG_SECONDS - math.log(1800.0)) * 2)
        same_moment = torch.exp(-gap_seconds.clamp(0, 1e10) / 5)
        return self.action(action), torch.stack([has_value, scaled, gap, same_session, same_moment], -1)


class UserEncoder(nn.Module):
    """See the module. d is the width of item and user vectors, and S the number of channels of the state."""

    def __init__(
        self,
        width: int,
        channels: int,
        features: EventFeatures,
        hidden: int,
        dropout: float,
        temperature: float | None = None,
        *,
        item_skip_connection: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.channels = width, channels
        self.features = features
        event_width = width + features.embedding_width + features.width_added
        self.dropout = nn.Dropout(dropout)
        self.inner = nn.Linear(event_width, hidden)
        self.input = nn.Linear(hidden, channels)
        self.decay = nn.Linear(hidden, channels)
        self.output = UserProjection(channels, width, temperature)
        nn.init.normal_(self.decay.weight, std=0.01)
        # Half-lives from under one event to a hundred, evenly spaced on a log scale.
        rates = torch.exp(torch.linspace(math.log(0.007), math.log(3.0), channels))
        with torch.no_grad():
            self.decay.bias.copy_(torch.log(torch.expm1(rates)))
        self.item_skip = nn.Linear(width, channels, bias=False) if item_skip_connection else None
        if self.item_skip is not None:
            self._init_item_skip(self.item_skip)

    def gates(
        self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log a (<= 0) and b of events, [.., S] each, from item vectors [.., d] and other inputs [..]."""
        embedded, numbers = self.features(action, gap_seconds, value)
        item = self.dropout(item)
        hidden = functional.gelu(self.inner(torch.cat([item, embedded, numbers], -1)))
        hidden = self.dropout(hidden)
        rate = functional.softplus(self.decay(hidden)).clamp(max=_MAX_DECAY_RATE)
        inputs = self.input(hidden)
        if self.item_skip is not None:
            inputs = inputs + self.item_skip(item)
        return -rate, (1 - torch.exp(-rate)) * inputs

    def vector(self, state: Tensor) -> Tensor:
        """The user vector [.., d] of a state [.., S]."""
        out: Tensor = self.output(state)
        return out

    def step(
        self, state: Tensor, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """State [b, S] and user vector [b, d] after one more event, from the state [b, S] before it."""
        log_decay, inputs = self.gates(item, action, gap_seconds, value)
        state = torch.exp(log_decay) * state + inputs
        return state, self.vector(state)

    def fold(
        self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """State [b, S], user vector [b, d] and contributions [b, t, d] of whole histories.

        Args:
            item: item vectors [b, t, d].
            action: [b, t].
            gap_seconds: [b, t].
            value: [b, t], NaN if missing.
            mask: [b, t], 1 for events and 0 for padding.
        """
        log_decay, inputs = self.gates(item, action, gap_seconds, value)
        masked = log_decay * mask.unsqueeze(-1)
        # An event decays by the events after it. Sums from the end stay small where they matter, so they stay exact.
        later = torch.flip(torch.cumsum(torch.flip(masked, [1]), 1), [1]) - masked
        weighted = torch.exp(later.clamp(max=0)) * inputs * mask.unsqueeze(-1)
        state = weighted.sum(1)
        return state, self.vector(state), self.output.contributions(weighted)

    def scan(self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """States [b, t, S] after each event; inputs as in `fold`."""
        log_decay, inputs = self.gates(item, action, gap_seconds, value)
        present = mask.unsqueeze(-1)
        return linear_scan(torch.exp(log_decay * present), inputs * present)

    @torch.no_grad()
    def _init_item_skip(self, item_skip: nn.Linear) -> None:
        """Initialises the channels as copies of the item vector, each with a faster decay than the one before, and the
        user vector as the mean of the copies."""
        channel = torch.arange(self.channels)
        dimension, copy = channel % self.width, channel // self.width
        copies = int(copy[-1]) + 1
        identity = functional.one_hot(dimension, self.width).float()
        rates = torch.exp(torch.linspace(math.log(_SLOW), math.log(_FAST), copies))
        self.decay.bias.copy_(torch.log(torch.expm1(rates[copy])))
        item_skip.weight.copy_(identity)
        self.output.linear.weight.copy_(identity.T / copies)
        self.output.linear.bias.zero_()
