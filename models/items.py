"""The item tower behind the text encoder: a head to the model's width, and an embedding of known ids."""

import torch
from torch import Tensor, nn


class ItemHead(nn.Module):
    """Item vectors [.., d] from text vectors [.., text_width] and item indices [..] (0: not in training).

    The id embedding starts at zero and index 0 stays there: text says what it can, ids add the rest. In
    training whole ids are dropped, so that an item without history gets a vector of the same kind.
    """

    def __init__(self, text_width: int, width: int, items: int, dropout: float, id_dropout: float) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(text_width, width))
        self.ids = nn.Embedding(items + 1, width, padding_idx=0)
        nn.init.normal_(self.ids.weight, std=0.02)
        with torch.no_grad():
            self.ids.weight[0] = 0
        self.id_dropout = id_dropout

    def forward(self, text: Tensor, index: Tensor) -> Tensor:
        if self.training and self.id_dropout:
            index = index * (torch.rand(index.shape, device=index.device) >= self.id_dropout)
        out: Tensor = self.head(text) + self.ids(index)
        return out
