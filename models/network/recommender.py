"""The served model: item tower, user encoder and ranker, exported as four graphs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data.windows import Batch
from models.network.item_tower import ItemTower
from models.network.ranker import Ranker
from models.network.user_encoder import EventFeatures, UserEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a model, and the constants of its inputs.

    Attributes:
        text_width: width of the text encoder's vectors.
        width: d, width of item and user vectors.
        channels: S, width of a user's state.
        hidden: width of the hidden layers.
        items: items that have an id embedding.
        actions: A, actions by index from 1; 0 is for unknown actions.
        value_mean: mean of each action's values.
        value_scale: deviation of each action's values.
        value_range: range of the predicted value.
        popularities: P, half-lives of popularity.
        media: width of each modality's vectors, by name.
        temperature: initial temperature of cosine similarity; None: inner product.
        item_skip_connection: whether an item's vector also enters the user state directly.
        timed: whether the training's times are real.
    """

    text_width: int
    width: int
    channels: int
    hidden: int
    items: int
    actions: int
    value_mean: tuple[float, ...]
    value_scale: tuple[float, ...]
    value_range: tuple[float, float]
    popularities: int
    media: tuple[tuple[str, int], ...] = ()
    temperature: float | None = None
    item_skip_connection: bool = False
    timed: bool = True


class Recommender(nn.Module):
    """Item tower, user encoder and ranker; a `SequenceModel`. The text encoder is frozen and not part of it."""

    def __init__(self, shape: Shape, dropout: float, id_dropout: float, media_dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.item = ItemTower(
            shape.text_width,
            shape.width,
            shape.items,
            dropout / 2,
            id_dropout,
            dict(shape.media),
            media_dropout,
            unit_norm=shape.temperature is not None,
        )
        features = EventFeatures(
            shape.actions,
            shape.width // 4 or 1,
            # Row 0 is for unknown actions.
            torch.tensor((0.0, *shape.value_mean)),
            torch.tensor((1.0, *shape.value_scale)),
            shape.timed,
        )
        self.user = UserEncoder(
            shape.width,
            shape.channels,
            features,
            shape.hidden,
            dropout,
            shape.temperature,
            item_skip_connection=shape.item_skip_connection,
        )
        self.ranker = Ranker(
            width=shape.width,
            channels=shape.channels,
            actions=shape.actions,
            hidden=shape.hidden,
            dropout=dropout,
            value_range=shape.value_range,
            popularities=shape.popularities,
            temperature=shape.temperature,
            timed=shape.timed,
        )

    def states(self, vectors: Tensor, batch: Batch) -> Tensor:
        """See `SequenceModel`."""
        return self.user.scan(
            vectors[batch.items], batch.actions, batch.gap_seconds, batch.values, batch.mask
        )

    def with_dropout(self, state: Tensor) -> Tensor:
        """See `SequenceModel`."""
        out: Tensor = self.user.dropout(state)
        return out

    def next_item_vector(self, state: Tensor) -> Tensor:
        """See `SequenceModel`."""
        return self.user.vector(state)

    def long_term_vector(self, state: Tensor) -> Tensor:
        """See `SequenceModel`."""
        out: Tensor = self.ranker.long_term(state)
        return out

    def sequence_parameters(self) -> list[nn.Parameter]:
        """See `SequenceModel`."""
        return [*self.item.parameters(), *self.user.parameters(), *self.ranker.long_term.parameters()]
