"""The item tower behind the frozen encoders: a head to the model's width, an embedding of known ids, and what
other modalities add."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

_NOTHING: Mapping[str, Tensor] = {}
# Against text vectors of length one: a seventieth of what they vary by in all.
_RIDGE = 0.015
_ROWS_AT_ONCE = 65_536


class ItemHead(nn.Module):
    """Item vectors [.., d] from text vectors [.., text_width], item indices [..] (0: not in training), and vectors
    of other modalities by name [.., w], where a row of zeros says that the item has none.

    Text and id make the vector; each modality that is there adds its own projection to it, in the order of `media`.
    So an item without it has the very vector of text and id, and serving leaves out what is absent. `unit`: the
    vector lies on the unit sphere after each addition, as cosine similarity wants it.

    Index 0 has no embedding: text says what it can, ids add the rest. In training whole ids, and whole modalities,
    are dropped, so that an item without history, or without an image, gets a vector of the same kind. What the head has
    learned beside the ids is not yet what text says alone: `foretell_unseen` adds the difference, for index 0.

    Text vectors are taken as they are unless `standardise` was called. A sparse table of them, of labels, is multiplied
    as such: most of it is zeros.
    """

    text_mean: Tensor
    text_scale: Tensor
    unseen_weight: Tensor
    unseen_bias: Tensor

    def __init__(
        self,
        text_width: int,
        width: int,
        items: int,
        dropout: float,
        id_dropout: float,
        media: Mapping[str, int] | None = None,
        media_dropout: float = 0.0,
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(text_width, width))
        self.ids = nn.Embedding(items + 1, width, padding_idx=0)
        nn.init.normal_(self.ids.weight, std=0.02)
        with torch.no_grad():
            self.ids.weight[0] = 0
        self.media = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Dropout(dropout), nn.Linear(w, width))
                for name, w in (media or {}).items()
            }
        )
        self.register_buffer("text_mean", torch.zeros(text_width))
        self.register_buffer("text_scale", torch.ones(text_width))
        self.register_buffer("unseen_weight", torch.zeros(width, text_width))
        self.register_buffer("unseen_bias", torch.zeros(width))
        self.id_dropout, self.media_dropout, self.unit = id_dropout, media_dropout, unit

    def standardise(self, text: Tensor) -> None:
        """From now on text vectors have the mean and spread of these [n, text_width] taken out: what decoders give
        lies in a narrow cone, where little tells one text from another. They stay about one long."""
        self.text_mean.copy_(text.mean(0))
        self.text_scale.copy_(1 / (text.std(0, correction=0).clamp(min=1e-6) * text.shape[1] ** 0.5))

    def forward(self, text: Tensor, index: Tensor, media: Mapping[str, Tensor] = _NOTHING) -> Tensor:
        unseen = (index == 0).unsqueeze(-1)
        if self.training and self.id_dropout:
            index = index * _kept(index.shape, self.id_dropout, index.device)
        added = self.ids(index)
        if not text.is_sparse:
            added = added + unseen * self.unseen(text)
        vector = self.finished(self.read(text) + added)
        for name in self.media:
            if name in media:
                there = (media[name] != 0).any(-1)
                if self.training and self.media_dropout:
                    there = there & _kept(there.shape, self.media_dropout, there.device)
                vector = torch.where(there.unsqueeze(-1), self.with_media(name, vector, media[name]), vector)
        return vector

    def read(self, text: Tensor) -> Tensor:
        """What the head makes of text vectors [.., text_width]: [.., d]."""
        if not text.is_sparse:
            out: Tensor = self.head(self._scaled(text))
            return out
        dropout, linear = self.head
        kept = torch.sparse_coo_tensor(
            text.indices(), dropout(text.values()), text.shape, is_coalesced=True, check_invariants=False
        )
        found: Tensor = torch.sparse.mm(kept, linear.weight.T) + linear.bias
        return found

    def unseen(self, text: Tensor) -> Tensor:
        """What stands in the place of an embedding where there is none [.., d]: nothing before `foretell_unseen`."""
        return functional.linear(self._scaled(text), self.unseen_weight, self.unseen_bias)

    @torch.no_grad()
    def foretell_unseen(self, text: Tensor, index: Tensor) -> None:
        """From now on an item without an embedding has the vector that a ridge regression foretells from its text, as
        learned from all items that have one: whole vectors are to be met, not what is left beside the ids (after
        Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start recommendations"). text
        [n, text_width], index [n]. Labels are left to the head."""
        known = torch.nonzero(index > 0)[:, 0]
        if text.is_sparse or not len(known):
            return
        training = self.training
        self.eval()
        width = text.shape[1]
        # Of text and vector together: sums, and products.
        sums = torch.zeros(width + len(self.unseen_bias), dtype=torch.float64, device=text.device)
        products = torch.zeros(width, len(sums), dtype=torch.float64, device=text.device)
        for start in range(0, len(known), _ROWS_AT_ONCE):
            rows = known[start : start + _ROWS_AT_ONCE]
            given = self._scaled(text[rows])
            both = torch.cat([given, self(text[rows], index[rows])], 1).double()
            sums += both.sum(0)
            products += given.double().T @ both
        self.train(training)
        means = sums / len(known)
        products -= len(known) * means[:width, None] * means
        scatter, moments = products[:, :width], products[:, width:]
        ridge = _RIDGE * len(known) * torch.eye(width, dtype=torch.float64, device=text.device)
        weight = torch.linalg.solve(scatter + ridge, moments).T
        linear = self.head[1]
        self.unseen_weight.copy_(weight - linear.weight)
        self.unseen_bias.copy_(means[width:] - weight @ means[:width] - linear.bias)

    @torch.no_grad()
    def begin(self, index: Tensor, text: Tensor) -> None:
        """Gives the embeddings of these indices [k] what has stood in their place: items of which there are events for
        the first time have the vectors still that their text [k, text_width] has given them."""
        if not text.is_sparse:
            self.ids.weight[index] = self.unseen(text)

    def _scaled(self, text: Tensor) -> Tensor:
        return (text - self.text_mean) * self.text_scale

    def with_media(self, name: str, vector: Tensor, content: Tensor) -> Tensor:
        """The vectors [.., d] with a modality added, from its encoder's vectors [.., w]."""
        return self.finished(vector + self.media[name](content))

    def finished(self, vector: Tensor) -> Tensor:
        """Brought to length one, where vectors are."""
        # Not functional.normalize: its form in ONNX loses the width.
        return vector / vector.norm(dim=-1, keepdim=True).clamp(min=1e-6) if self.unit else vector


def _kept(shape: torch.Size, dropout: float, device: torch.device) -> Tensor:
    return torch.rand(shape, device=device) >= dropout
