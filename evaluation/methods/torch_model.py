"""A model that was not exported, as the composition takes it: the same lists without a bundle."""

import numpy as np
import torch
from numpy import generic
from numpy.typing import NDArray

from evaluation.methods.served_model import Lists
from inference.model import Histories
from models.data.events import Floats
from models.network.recommender import Recommender
from models.training.settings import TrainSettings


class TorchModel:
    """A `Recommender` in this process. vectors [n, d]: of all items of the split's events."""

    def __init__(self, model: Recommender, vectors: Floats, settings: TrainSettings) -> None:
        self._model, self.vectors = model.eval(), vectors
        self.actions = tuple(settings.actions)
        self.history, self.refold_every = settings.history, settings.refold_every
        self.half_lives_days = tuple(settings.popularity_half_lives_days)

    @torch.inference_mode()
    def fold(self, histories: Histories) -> tuple[Floats, Floats]:
        """See `ServedModel`."""
        h = histories
        given = _tensors(h.item_vectors, h.actions, h.gap_seconds, h.values, h.mask)
        state, user, _ = self._model.user.fold(*given)
        return state.numpy(), user.numpy()

    @torch.inference_mode()
    def rank(self, state: Floats, user: Floats, lists: Lists) -> tuple[Floats, Floats]:
        """See `ServedModel`."""
        given = _tensors(state, user, lists.idle_seconds, lists.vectors, lists.age_seconds, lists.popularity)
        logits, values = self._model.ranker(*given)
        return torch.sigmoid(logits).numpy(), values.numpy()


def _tensors(*arrays: NDArray[generic]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
