"""The teacher: one attention model, or several of other seeds that answer together.

Their logits are averaged, which is the geometric mean of their distributions (Hinton et al. 2015, arXiv:1503.02531,
section 1): it is again an inner product, that of their vectors one after the other, so several are one wider model.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.data.windows import Batch
from models.network.item_tower import ItemHead
from models.network.recommender import Shape
from models.network.user_encoder import EventFeatures
from models.training.distillation.attention import AttentionEncoder
from models.training.distillation.settings import TeacherSettings
from models.training.stages.sequence_model import ItemTable, before


class Member(nn.Module):
    """An attention model with item vectors of its own width; `models.training.stages.sequence_model.Foretelling`."""

    def __init__(self, shape: Shape, settings: TeacherSettings, media_dropout: float) -> None:
        super().__init__()
        width = settings.width
        self.item = ItemHead(
            shape.text_width,
            width,
            shape.items,
            settings.dropout / 2,
            settings.id_dropout,
            dict(shape.media),
            media_dropout,
            unit=settings.temperature is not None,
        )
        features = EventFeatures(
            shape.actions,
            max(1, width // 4),
            torch.tensor((0.0, *shape.value_mean)),
            torch.tensor((1.0, *shape.value_scale)),
        )
        self.user = AttentionEncoder(
            width, settings.layers, settings.heads, features, settings.dropout, settings.temperature
        )

    def states(self, vectors: Tensor, given: Batch) -> Tensor:
        """See `Foretelling`."""
        out: Tensor = self.user(
            vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
        )
        return out

    def loosened(self, state: Tensor) -> Tensor:
        """See `Foretelling`: states have their dropout already."""
        return state

    def near(self, state: Tensor) -> Tensor:
        """See `Foretelling`."""
        out: Tensor = self.user.near(state)
        return out

    def taste(self, state: Tensor) -> Tensor:
        """See `Foretelling`."""
        out: Tensor = self.user.taste(state)
        return out

    def foretelling_parameters(self) -> list[nn.Parameter]:
        """See `Foretelling`: all."""
        return list(self.parameters())


class Teacher(nn.Module):
    """See the module. D: the members' widths added up."""

    def __init__(self, shape: Shape, settings: TeacherSettings, media_dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        self.members = nn.ModuleList(
            Member(shape, settings, media_dropout) for _ in range(max(1, settings.members))
        )

    def each(self) -> Sequence[Member]:
        """The members."""
        return [member for member in self.members if isinstance(member, Member)]

    def vectors(self, items: ItemTable) -> Tensor:
        """Item vectors [n, D]."""
        return torch.cat([items.vectors(member) for member in self.each()], -1)

    def told(self, vectors: Tensor, given: Batch) -> tuple[Tensor, Tensor]:
        """User vectors and tastes [f, D] before each event that is to be foretold, of item vectors [n, D]."""
        pairs = []
        for member, own in self._with(vectors):
            state = before(member, own, given)
            pairs.append((member.near(state), member.taste(state)))
        near, taste = (torch.cat(parts, -1) / len(pairs) for parts in zip(*pairs, strict=True))
        return near, taste

    def after(self, vectors: Tensor, given: Batch) -> Tensor:
        """User vectors [b, D] after all of each window's events, of which it has one at least."""
        last = given.mask.shape[1] - 1 - given.mask.flip(1).argmax(1)
        rows = torch.arange(len(last), device=last.device)
        found = [member.near(member.states(own, given)[rows, last]) for member, own in self._with(vectors)]
        return torch.cat(found, -1) / len(found)

    def _with(self, vectors: Tensor) -> list[tuple[Member, Tensor]]:
        return list(zip(self.each(), vectors.chunk(len(self.members), -1), strict=True))
