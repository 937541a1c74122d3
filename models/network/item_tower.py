"""The item tower behind the frozen encoders: a linear head on the text, an id embedding, and other modalities."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

_NO_MEDIA: Mapping[str, Tensor] = {}
# For text vectors of length one this is a seventieth of their total variance.
_RIDGE = 0.015
_ROWS_AT_ONCE = 65_536


class ItemTower(nn.Module):
    """Computes item vectors [.., d].

    The inputs are text vectors [.., text width], rows of the id embedding [..] (0 for items outside the training), and
    vectors of other modalities by name [.., w] (a row of zeros for an item that has none).

    Text and id make the vector. Each modality then adds its own projection, in the order of `media`. So an item without
    a modality has exactly the vector of text and id, and serving skips absent modalities.

    Row 0 has no embedding: only the text of the item is known. In training, whole ids and whole modalities are dropped
    at random (compare DropoutNet, Volkovs et al. 2017), so that items without them get vectors of the same kind.
    `init_cold_embeddings` then corrects row 0 for what the head alone does not express.

    Labels come as a sparse table of text vectors, which is multiplied as a sparse matrix: nearly all of it is zeros.
    """

    text_mean: Tensor
    text_scale: Tensor
    cold_weight: Tensor
    cold_bias: Tensor

    def __init__(
        self,
        text_width: int,
        width: int,
        items: int,
        dropout: float,
        id_dropout: float,
        media: Mapping[str, int] | None = None,
        media_dropout: float = 0.0,
        unit_norm: bool = False,
    ) -> None:
        """
        Args:
            text_width: width of the text vectors.
            width: d, width of the item vectors.
            items: rows of the id embedding besides row 0.
            dropout: dropout of the inputs of each projection.
            id_dropout: share of ids that are dropped in training.
            media: width of each modality's vectors, by name.
            media_dropout: share of each modality's vectors that are dropped in training.
            unit_norm: whether vectors are normalised to length one after each addition, as cosine similarity needs.
        """
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
        self.register_buffer("cold_weight", torch.zeros(width, text_width))
        self.register_buffer("cold_bias", torch.zeros(width))
        self.id_dropout, self.media_dropout, self.unit_norm = id_dropout, media_dropout, unit_norm

    def standardize(self, text: Tensor) -> None:
        """From now on, standardises text vectors by the mean and deviation of `text` [n, text width].

        The vectors of decoders lie in a narrow cone and differ little. Standardised vectors have a mean length of about
        one.
        """
        self.text_mean.copy_(text.mean(0))
        self.text_scale.copy_(1 / (text.std(0, correction=0).clamp(min=1e-6) * text.shape[1] ** 0.5))

    def forward(self, text: Tensor, index: Tensor, media: Mapping[str, Tensor] = _NO_MEDIA) -> Tensor:
        cold = (index == 0).unsqueeze(-1)
        if self.training and self.id_dropout:
            index = index * _keep_mask(index.shape, self.id_dropout, index.device)
        added = self.ids(index)
        if not text.is_sparse:
            added = added + cold * self.cold_embedding(text)
        vector = self.normalized(self.project_text(text) + added)
        for name in self.media:
            if name in media:
                present = (media[name] != 0).any(-1)
                if self.training and self.media_dropout:
                    present = present & _keep_mask(present.shape, self.media_dropout, present.device)
                vector = torch.where(
                    present.unsqueeze(-1), self.with_media(name, vector, media[name]), vector
                )
        return vector

    def project_text(self, text: Tensor) -> Tensor:
        """The head's projection [.., d] of text vectors [.., text width]."""
        if not text.is_sparse:
            out: Tensor = self.head(self._standardized(text))
            return out
        dropout, linear = self.head
        dropped = torch.sparse_coo_tensor(
            text.indices(), dropout(text.values()), text.shape, is_coalesced=True, check_invariants=False
        )
        found: Tensor = torch.sparse.mm(dropped, linear.weight.T) + linear.bias
        return found

    def cold_embedding(self, text: Tensor) -> Tensor:
        """Replaces the id embedding of an item that has none: [.., d], zero before `init_cold_embeddings`."""
        return functional.linear(self._standardized(text), self.cold_weight, self.cold_bias)

    @torch.no_grad()
    def init_cold_embeddings(self, text: Tensor, index: Tensor) -> None:
        """Fits the embedding of items without events to their text, by ridge regression over all items that have one.

        The regression's target is the whole item vector, so that a cold item gets the vector that an item with its text
        would have after training (Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start
        recommendations"). It does nothing for labels, where the head alone is used.

        Args:
            text: text vectors [n, text width].
            index: rows of the id embedding [n].
        """
        known = torch.nonzero(index > 0)[:, 0]
        if text.is_sparse or not len(known):
            return
        training = self.training
        self.eval()
        width = text.shape[1]
        # Sums and products over text and vector, concatenated.
        sums = torch.zeros(width + len(self.cold_bias), dtype=torch.float64, device=text.device)
        products = torch.zeros(width, len(sums), dtype=torch.float64, device=text.device)
        for start in range(0, len(known), _ROWS_AT_ONCE):
            rows = known[start : start + _ROWS_AT_ONCE]
            standardized = self._standardized(text[rows])
            both = torch.cat([standardized, self(text[rows], index[rows])], 1).double()
            sums += both.sum(0)
            products += standardized.double().T @ both
        self.train(training)
        means = sums / len(known)
        products -= len(known) * means[:width, None] * means
        scatter, cross = products[:, :width], products[:, width:]
        ridge = _RIDGE * len(known) * torch.eye(width, dtype=torch.float64, device=text.device)
        weight = torch.linalg.solve(scatter + ridge, cross).T
        linear = self.head[1]
        self.cold_weight.copy_(weight - linear.weight)
        self.cold_bias.copy_(means[width:] - weight @ means[:width] - linear.bias)

    @torch.no_grad()
    def init_new_embeddings(self, index: Tensor, text: Tensor) -> None:
        """Initialises id embeddings of items that have their first events, so that their vectors do not change.

        Args:
            index: rows of the id embedding [k].
            text: text vectors [k, text width] of the same items.
        """
        if not text.is_sparse:
            self.ids.weight[index] = self.cold_embedding(text)

    def with_media(self, name: str, vector: Tensor, content: Tensor) -> Tensor:
        """Item vectors [.., d] plus a modality's projection of its encoder's vectors [.., w]."""
        return self.normalized(vector + self.media[name](content))

    def normalized(self, vector: Tensor) -> Tensor:
        """Vectors of length one with `unit_norm`, unchanged without."""
        # Not functional.normalize, whose ONNX form loses the width.
        return vector / vector.norm(dim=-1, keepdim=True).clamp(min=1e-6) if self.unit_norm else vector

    def _standardized(self, text: Tensor) -> Tensor:
        return (text - self.text_mean) * self.text_scale


def _keep_mask(shape: torch.Size, dropout: float, device: torch.device) -> Tensor:
    return torch.rand(shape, device=device) >= dropout
