"""The item encoder's graph for items that are described by labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.encoders.labels import LabelEncoder
from models.network.item_tower import ItemTower


class LabelItemGraph(nn.Module):
    """Computes the item's vector from labels and id.

    An item of the training may come without labels, if an event names it but no item message came. It then keeps the
    labels of its training. Without them it would be another item.
    """

    trained: Tensor

    def __init__(self, labels: LabelEncoder, tower: ItemTower, item_ids: Sequence[str]) -> None:
        """
        Args:
            labels: the encoder of labels.
            tower: the trained item tower.
            item_ids: items of the id embedding, in order.
        """
        super().__init__()
        self.labels, self.tower = labels, tower
        with torch.no_grad():
            # Row 0 is for items outside the training.
            self.register_buffer("trained", tower.project_text(labels.vectors(["", *item_ids])))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, item_index: Tensor) -> Tensor:
        index = item_index[:, 0]
        has_labels = attention_mask.sum(1, keepdim=True) > 0
        given = self.tower.project_text(self.labels(input_ids, attention_mask))
        projected = torch.where(has_labels, given, self.trained[index])
        return self.tower.normalized(projected + self.tower.ids(index))
