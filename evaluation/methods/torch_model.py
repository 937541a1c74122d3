"""A model that is not exported, as a `Model`. It makes the same lists without a bundle, such as during training."""

from typing import NoReturn

import numpy as np
import torch
from numpy import generic
from numpy.typing import NDArray

from evaluation.methods.evaluated_model import EvaluatedModel
from inference.bundle.bundle import Manifest
from inference.bundle.modalities import Prepared
from inference.model import (
    Candidates,
    Floats,
    FoldResult,
    Histories,
    ModelUnavailable,
    Ranking,
    States,
    Steps,
    Tokens,
)
from models.network.recommender import Recommender
from models.training.settings import TrainSettings


class TorchModel:
    """`inference.model.Model` computed by a `Recommender`. It does not encode items: their vectors are given."""

    def __init__(self, model: Recommender) -> None:
        self._model = model.eval()

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        """Raises ModelUnavailable."""
        _no_items()

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        """Raises ModelUnavailable."""
        _no_items()

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        """See `Model.step`."""
        s = steps
        with torch.inference_mode():
            state, user = self._model.user.step(
                *_tensors(s.state, s.item_vectors, s.actions, s.gap_seconds, s.values)
            )
        return States(state.numpy(), user.numpy())

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        """See `Model.fold`."""
        h = histories
        with torch.inference_mode():
            state, user, contributions = self._model.user.fold(
                *_tensors(h.item_vectors, h.actions, h.gap_seconds, h.values, h.mask)
            )
        return FoldResult(States(state.numpy(), user.numpy()), contributions.numpy())

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        """See `Model.rank`."""
        c = candidates
        lists = c.idle_seconds[:, None], c.vectors, c.age_seconds, c.popularity
        with torch.inference_mode():
            logits, values = self._model.ranker(*_tensors(users.state, users.user_vector, *lists))
        return Ranking(torch.sigmoid(logits).numpy(), values.numpy())

    async def ready(self, version: int) -> bool:
        """See `Model.ready`."""
        return True

    async def close(self) -> None:
        """See `Model.close`."""


def torch_model(model: Recommender, vectors: Floats, settings: TrainSettings) -> EvaluatedModel:
    """Makes a model in training ready for evaluation.

    Args:
        model: The model. It is switched to evaluation mode.
        vectors: Vectors of all items of the split's events, float32 [n, d].
        settings: The settings of its training.
    """
    manifest = Manifest(
        version=settings.version or 1,
        width=model.shape.width,
        state_width=model.shape.channels,
        actions=tuple(settings.actions),
        history=settings.history,
        refold_every=settings.refold_every,
        text_tokens=2,
        popularity_half_lives_days=settings.popularity_half_lives_days,
        files={},
    )
    return EvaluatedModel(TorchModel(model), manifest, vectors)


def _no_items() -> NoReturn:
    raise ModelUnavailable("a model in training does not encode items: their vectors are given")


def _tensors(*arrays: NDArray[generic]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
