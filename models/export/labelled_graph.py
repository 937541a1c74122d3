"""The item encoder of a model whose items are known by labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.encoders.labels import LabelEncoder
from models.network.item_tower import ItemHead


class LabelledItemGraph(nn.Module):
    """Labels and id to the item's vector. An item that was trained on and comes without a label, as one does of which
    there are events alone, is taken to have those that it had in training: without them it would be another item.

    item_ids: of the id embedding, in its order.
    """

    learned: Tensor

    def __init__(self, labels: LabelEncoder, head: ItemHead, item_ids: Sequence[str]) -> None:
        super().__init__()
        self.labels, self.head = labels, head
        with torch.no_grad():
            # The row before the first is of items that were not trained on.
            self.register_buffer("learned", head.read(labels.of(["", *item_ids])))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, item_index: Tensor) -> Tensor:
        index = item_index[:, 0]
        there = attention_mask.sum(1, keepdim=True) > 0
        read = torch.where(there, self.head.read(self.labels(input_ids, attention_mask)), self.learned[index])
        return self.head.finished(read + self.head.ids(index))
