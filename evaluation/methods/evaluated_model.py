"""A model that runs in the process of the evaluation, with the vectors of the items."""

from dataclasses import dataclass

from inference.bundle.bundle import Manifest
from inference.model import Floats, Model


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """What an evaluation needs of a model, whatever computes it.

    Attributes:
        model: Answers folds and rankings under the manifest's version.
        manifest: Has the actions, the events that a state covers, and the half-lives of popularity.
        vectors: Vectors of all items of the split's events, in the order of their ids, float32 [n, d].
    """

    model: Model
    manifest: Manifest
    vectors: Floats
