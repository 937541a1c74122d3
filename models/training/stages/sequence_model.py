"""What the first stage of training asks of a model, whatever its form: the served one and its teacher alike."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.data.windows import Batch
from models.network.item_tower import ItemHead


class Foretelling(Protocol):
    """d: width of its vectors; S: of a state, from which events to come are told."""

    @property
    def item(self) -> ItemHead: ...

    def states(self, vectors: Tensor, given: Batch) -> Tensor:
        """States [b, t, S] after each event, of item vectors [n, d]. The state of no event is zero."""

    def loosened(self, state: Tensor) -> Tensor:
        """States with what dropout takes from them in training."""

    def near(self, state: Tensor) -> Tensor:
        """User vectors [.., d] of states [.., S]: the inner product with an item's vector is the logit of its coming
        next."""

    def taste(self, state: Tensor) -> Tensor:
        """The same for an item's coming at any time."""

    def foretelling_parameters(self) -> list[nn.Parameter]:
        """What the first stage trains."""

    def train(self, mode: bool = True) -> nn.Module:
        """As torch has it."""


@dataclass(frozen=True, slots=True)
class ItemTable:
    """All items as the model takes them: text vectors [n, text width], indices [n] (0: not in training), and vectors
    of other modalities by name [n, their width], zeros where an item has none."""

    text: Tensor
    index: Tensor
    media: dict[str, Tensor] = field(default_factory=dict)

    def of(self, known: NDArray[np.bool_]) -> "ItemTable":
        """With the index of these items [n] alone: the others are not in training yet."""
        return replace(self, index=self.index * torch.from_numpy(known).to(self.index.device))

    def vectors(self, model: Foretelling) -> Tensor:
        """Item vectors [n, d]."""
        out: Tensor = model.item(self.text, self.index, self.media)
        return out


def before(model: Foretelling, vectors: Tensor, given: Batch) -> Tensor:
    """States [f, S] from which the batch's events are foretold: each the one before its event."""
    states = model.states(vectors, given)
    return model.loosened(functional.pad(states[:, :-1], (0, 0, 1, 0))[given.target])
