"""The whole model: what is trained together and exported as four graphs."""

from dataclasses import dataclass

import torch
from torch import nn

from models.items import ItemHead
from models.ranker import Ranker
from models.user import EventFeatures, UserEncoder


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths of a model. items: ids that have an embedding. values: mean and scale of each action's values,
    and the range of what is predicted."""

    text_width: int
    width: int
    channels: int
    hidden: int
    items: int
    actions: int
    value_mean: tuple[float, ...]
    value_scale: tuple[float, ...]
    value_range: tuple[float, float]


class Recommender(nn.Module):
    """Item head, user encoder and ranker. The text encoder is frozen and stands apart."""

    def __init__(self, shape: Shape, dropout: float, id_dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.item = ItemHead(shape.text_width, shape.width, shape.items, dropout / 2, id_dropout)
        features = EventFeatures(
            shape.actions,
            shape.width // 4 or 1,
            # Row 0 is for actions that are not known.
            torch.tensor((0.0, *shape.value_mean)),
            torch.tensor((1.0, *shape.value_scale)),
        )
        self.user = UserEncoder(shape.width, shape.channels, features, shape.hidden, dropout)
        self.ranker = Ranker(
            shape.width, shape.channels, shape.actions, shape.hidden, dropout, shape.value_range
        )
