"""The whole model: what is trained together and exported as four graphs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data.windows import Batch
from models.network.item_tower import ItemHead
from models.network.ranker import Ranker
from models.network.user_encoder import EventFeatures, UserEncoder


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths of a model. items: ids that have an embedding. values: mean and scale of each action's values,
    and the range of what is predicted. popularities: half-lives of popularity. media: widths of modalities by name.
    temperature: where that of cosine similarity begins; None: similarity is the inner product. direct: whether items'
    vectors enter the user's state as they are too. timed: whether times are real."""

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
    direct: bool = False
    timed: bool = True


class Recommender(nn.Module):
    """Item head, user encoder and ranker; `models.training.stages.sequence_model.Foretelling`. The text encoder is
    frozen and stands apart."""

    def __init__(self, shape: Shape, dropout: float, id_dropout: float, media_dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.item = ItemHead(
            shape.text_width,
            shape.width,
            shape.items,
            dropout / 2,
            id_dropout,
            dict(shape.media),
            media_dropout,
            unit=shape.temperature is not None,
        )
        features = EventFeatures(
            shape.actions,
            shape.width // 4 or 1,
            # Row 0 is for actions that are not known.
            torch.tensor((0.0, *shape.value_mean)),
            torch.tensor((1.0, *shape.value_scale)),
            shape.timed,
        )
        self.user = UserEncoder(
            shape.width, shape.channels, features, shape.hidden, dropout, shape.temperature, shape.direct
        )
        self.ranker = Ranker(
            shape.width,
            shape.channels,
            shape.actions,
            shape.hidden,
            dropout,
            shape.value_range,
            shape.popularities,
            shape.temperature,
            shape.timed,
        )

    def states(self, vectors: Tensor, given: Batch) -> Tensor:
        """See `Foretelling`."""
        return self.user.scan(
            vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
        )

    def loosened(self, state: Tensor) -> Tensor:
        """See `Foretelling`."""
        out: Tensor = self.user.dropout(state)
        return out

    def near(self, state: Tensor) -> Tensor:
        """See `Foretelling`."""
        return self.user.vector(state)

    def taste(self, state: Tensor) -> Tensor:
        """See `Foretelling`."""
        out: Tensor = self.ranker.taste(state)
        return out

    def foretelling_parameters(self) -> list[nn.Parameter]:
        """See `Foretelling`."""
        return [*self.item.parameters(), *self.user.parameters(), *self.ranker.taste.parameters()]
