"""What the encoder's training needs of a model. The served model and the teacher's members implement it."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.data.windows import Batch
from models.network.item_tower import ItemTower


class SequenceModel(Protocol):
    """A model that predicts a user's next items. d: width of its vectors; S: width of its user state."""

    @property
    def item(self) -> ItemTower: ...

    def states(self, vectors: Tensor, batch: Batch) -> Tensor:
        """States [b, t, S] after each event, given item vectors [n, d]. The state before any event is zero."""

    def with_dropout(self, state: Tensor) -> Tensor:
        """States with the dropout that the model applies to them in training."""

    def next_item_vector(self, state: Tensor) -> Tensor:
        """User vectors [.., d] of states [.., S]. The inner product with an item's vector is the logit that the item
        comes next."""

    def long_term_vector(self, state: Tensor) -> Tensor:
        """Like `next_item_vector`, for the logit that the item comes at any later time."""

    def sequence_parameters(self) -> list[nn.Parameter]:
        """The parameters that the encoder's training updates."""

    def train(self, mode: bool = True) -> nn.Module:
        """See `torch.nn.Module.train`."""


@dataclass(frozen=True, slots=True)
class ItemTable:
    """Inputs of the item tower for all n items.

    Attributes:
        text: text vectors [n, text width].
        index: rows of the id embedding [n]; 0 for items outside the training.
        media: vectors [n, width] by modality; a row of zeros for an item without that modality.
    """

    text: Tensor
    index: Tensor
    media: dict[str, Tensor] = field(default_factory=dict)

    def restricted_to(self, items: NDArray[np.bool_]) -> "ItemTable":
        """The table in which only these items [n] have an id embedding."""
        return replace(self, index=self.index * torch.from_numpy(items).to(self.index.device))

    def vectors(self, model: SequenceModel) -> Tensor:
        """Item vectors [n, d]."""
        out: Tensor = model.item(self.text, self.index, self.media)
        return out


def states_before_targets(model: SequenceModel, vectors: Tensor, batch: Batch) -> Tensor:
    """For each target of the batch, the state [targets, S] just before it, with dropout in training."""
    states = model.states(vectors, batch)
    return model.with_dropout(functional.pad(states[:, :-1], (0, 0, 1, 0))[batch.target])
