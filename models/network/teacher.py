"""The teacher of distillation: an ensemble of attention models over the same events as the served model.

A member is causal self-attention over events (Vaswani et al. 2017; Kang and McAuley 2018, SASRec) followed by the
served model's recurrence over its outputs (compare De et al. 2024, Griffin, arXiv:2402.19427). In the served model the
recurrence sees each event alone; here each event has attended to the earlier ones first. The attention's output is
added to the item's vector and is initialised to zero, so an untrained member is an untrained served model.

Blocks are pre-norm (Xiong et al. 2020, arXiv:2002.04745). Windows begin at any event, so absolute positions carry no
information. A head has a learned bias for every distance in events and every bucket of elapsed time (compare ALiBi,
Press et al. 2022, arXiv:2108.12409, whose slopes are fixed; here each distance has its own bias, initialised on a
slope).

The members' logits are averaged: the geometric mean of their distributions (Hinton et al. 2015, arXiv:1503.02531,
section 1). That mean is the inner product of their concatenated vectors, so an ensemble is one wider model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.data.windows import Batch
from models.network.item_tower import ItemTower
from models.network.recommender import Shape
from models.network.sequence_model import ItemTable, states_before_targets
from models.network.user_encoder import EventFeatures, UserEncoder
from models.network.user_projection import UserProjection

# Channels of the recurrence for each number of an item's vector.
_CHANNELS_PER_WIDTH = 3
_DISTANCES = 128
_LAGS = 32
# Buckets of elapsed time on a log scale, up to about ten years.
_LAGS_PER_E = (_LAGS - 1) / math.log1p(3e8)
_STEEPEST, _FLATTEST = 0.5, 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherShape:
    """Size of a teacher.

    Attributes:
        members: members of the ensemble.
        width: width of a member's vectors and hidden layers.
        layers: attention blocks of a member.
        heads: attention heads of a block.
        dropout: dropout of a member.
        id_dropout: share of item ids that are dropped in training.
        temperature: initial temperature of cosine similarity; None: inner product.
    """

    members: int
    width: int
    layers: int
    heads: int
    dropout: float
    id_dropout: float
    temperature: float | None


class RelativeBias(nn.Module):
    """A bias of the attention logits by distance in events and by elapsed time, for each head."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        slopes = torch.exp(torch.linspace(math.log(_STEEPEST), math.log(_FLATTEST), heads))
        self.by_distance = nn.Parameter(-slopes * torch.arange(_DISTANCES)[:, None])
        self.by_lag = nn.Parameter(torch.zeros(_LAGS, heads))

    def forward(self, distance: Tensor, lag: Tensor) -> Tensor:
        """Buckets [t, t] and [b, t, t] to biases [b, heads, t, t]."""
        bias = functional.embedding(distance, self.by_distance) + functional.embedding(lag, self.by_lag)
        out: Tensor = bias.movedim(-1, 1)
        return out


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.bias = RelativeBias(heads)
        self.qkv, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        _init_near_identity(self.qkv, 2 * width)
        _init_near_identity(self.attention_out)

    def forward(self, hidden: Tensor, distance: Tensor, lag: Tensor, masked: Tensor) -> Tensor:
        """hidden [b, t, w]; masked [b, 1, t, t]: True where position i must not attend to position j."""
        projected = self.qkv(self.attention_norm(hidden)).unflatten(-1, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        logits = query @ key.mT / math.sqrt(query.shape[-1]) + self.bias(distance, lag)
        weights = torch.softmax(logits.masked_fill(masked, -torch.inf), -1)
        hidden = hidden + self.dropout(self.attention_out((weights @ value).transpose(1, 2).flatten(2)))
        inner = self.dropout(functional.gelu(self.inner(self.feedforward_norm(hidden))))
        out: Tensor = hidden + self.dropout(self.outer(inner))
        return out


class AttentionEncoder(nn.Module):
    """Attention blocks, then the recurrence: states [b, t, 3 w], each from the events up to its position."""

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
        self.project_in = nn.Linear(width + features.embedding_width + features.width_added, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width)
        self.project_out = nn.Linear(width, width)
        channels = _CHANNELS_PER_WIDTH * width
        self.recurrence = UserEncoder(
            width, channels, features, 2 * width, dropout, temperature, item_skip_connection=True
        )
        self.long_term = UserProjection(channels, width, temperature)
        _init_near_identity(self.project_in)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(
        self, item: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor, mask: Tensor
    ) -> Tensor:
        """Item vectors [b, t, w] and the other inputs [b, t] to states [b, t, 3 w]."""
        embedded, numbers = self.features(action, gap_seconds, value)
        hidden = self.dropout(self.project_in(torch.cat([item, embedded, numbers], -1)))
        distance, lag, masked = _relations(gap_seconds, mask)
        for block in self.blocks:
            hidden = block(hidden, distance, lag, masked)
        attended = item + self.project_out(self.last_norm(hidden))
        return self.recurrence.scan(attended, action, gap_seconds, value, mask)


class Member(nn.Module):
    """One attention model with its own item tower; a `SequenceModel`."""

    def __init__(self, shape: Shape, teacher: TeacherShape, media_dropout: float) -> None:
        super().__init__()
        width = teacher.width
        self.item = ItemTower(
            shape.text_width,
            width,
            shape.items,
            teacher.dropout / 2,
            teacher.id_dropout,
            dict(shape.media),
            media_dropout,
            unit_norm=teacher.temperature is not None,
        )
        features = EventFeatures(
            shape.actions,
            max(1, width // 4),
            torch.tensor((0.0, *shape.value_mean)),
            torch.tensor((1.0, *shape.value_scale)),
        )
        self.user = AttentionEncoder(
            width, teacher.layers, teacher.heads, features, teacher.dropout, teacher.temperature
        )

    def states(self, vectors: Tensor, batch: Batch) -> Tensor:
        """See `SequenceModel`."""
        out: Tensor = self.user(
            vectors[batch.items], batch.actions, batch.gap_seconds, batch.values, batch.mask
        )
        return out

    def with_dropout(self, state: Tensor) -> Tensor:
        """See `SequenceModel`. The attention has applied its dropout already."""
        return state

    def next_item_vector(self, state: Tensor) -> Tensor:
        """See `SequenceModel`."""
        return self.user.recurrence.vector(state)

    def long_term_vector(self, state: Tensor) -> Tensor:
        """See `SequenceModel`."""
        out: Tensor = self.user.long_term(state)
        return out

    def sequence_parameters(self) -> list[nn.Parameter]:
        """See `SequenceModel`. All of them."""
        return list(self.parameters())


class Teacher(nn.Module):
    """The ensemble. D is the sum of its members' widths."""

    def __init__(self, shape: Shape, teacher: TeacherShape, media_dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.teacher_shape = shape, teacher
        self.members = nn.ModuleList(
            Member(shape, teacher, media_dropout) for _ in range(max(1, teacher.members))
        )

    def each(self) -> Sequence[Member]:
        """The members, with their type."""
        return [member for member in self.members if isinstance(member, Member)]

    def vectors(self, items: ItemTable) -> Tensor:
        """Item vectors [n, D]."""
        return torch.cat([items.vectors(member) for member in self.each()], -1)

    def user_vectors(self, vectors: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Next-item and long-term vectors [targets, D] before each target, given item vectors [n, D]."""
        pairs = []
        for member, member_vectors in self._with(vectors):
            state = states_before_targets(member, member_vectors, batch)
            pairs.append((member.next_item_vector(state), member.long_term_vector(state)))
        next_item, long_term = (torch.cat(each, -1) / len(pairs) for each in zip(*pairs, strict=True))
        return next_item, long_term

    def final_user_vectors(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Next-item vectors [b, D] after all events of each window. A window has at least one event."""
        last = batch.mask.shape[1] - 1 - batch.mask.flip(1).argmax(1)
        rows = torch.arange(len(last), device=last.device)
        found = [
            member.next_item_vector(member.states(member_vectors, batch)[rows, last])
            for member, member_vectors in self._with(vectors)
        ]
        return torch.cat(found, -1) / len(found)

    def _with(self, vectors: Tensor) -> list[tuple[Member, Tensor]]:
        return list(zip(self.each(), vectors.chunk(len(self.members), -1), strict=True))


@torch.no_grad()
def _init_near_identity(linear: nn.Linear, first: int = 0) -> None:
    """Initialises the outputs from `first` on to the inputs, plus small noise. Attention then starts as a decaying mean
    of the item vectors."""
    count = min(linear.in_features, linear.out_features - first)
    linear.weight[first:].mul_(0.1)
    linear.weight[first : first + count, :count] += torch.eye(count)
    linear.bias[first:].zero_()


def _relations(gap_seconds: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How positions i and j are related.

    Returns:
        The bucket of the distance in events [t, t]; the bucket of the elapsed time [b, t, t]; and whether i must not
        attend to j, because j is later or is padding [b, 1, t, t]. A position always attends to itself, because a
        softmax over nothing is undefined.
    """
    length = mask.shape[1]
    position = torch.arange(length, device=mask.device)
    distance = position[:, None] - position
    # Doubles, because single seconds count in sums of years.
    at = torch.cumsum(gap_seconds.double() * mask, 1)
    lag = torch.log1p((at[:, :, None] - at[:, None, :]).clamp(min=0)) * _LAGS_PER_E
    masked = (distance < 0) | (mask[:, None, :] == 0) & (distance != 0)
    return distance.clamp(0, _DISTANCES - 1), lag.long().clamp(max=_LAGS - 1), masked.unsqueeze(1)
