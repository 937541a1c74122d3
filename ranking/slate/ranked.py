"""A finished list."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model import Floats
from recstream.v1 import slate_pb2


@dataclass(frozen=True, slots=True, eq=False)
class ModelOutputs:
    """What the ranker predicted for the k items of a list.

    They are kept beside the message, because few clients ask for them, and a map for each item costs more than all else
    of a long list.

    Attributes:
        actions: The A actions of the model.
        probabilities: The probability of each action, float32 [k, A]. NaN where the model could not score the item.
        predicted_values: The value of a rating, in its scale, float32 [k]. NaN likewise.
    """

    actions: Sequence[str]
    probabilities: Floats
    predicted_values: Floats

    def where(self, mask: NDArray[np.bool_]) -> "ModelOutputs":
        """Those of some of the items."""
        return ModelOutputs(self.actions, self.probabilities[mask], self.predicted_values[mask])


@dataclass(frozen=True, slots=True)
class Ranked:
    """A list, with what streams and paging sessions need to know about it.

    Attributes:
        slate: The list as a message, without the model's outputs.
        rows: The catalogue rows of the slate's items, in order, int64 [len(slate.items)].
        remaining: Number of items that could follow these. 0: the paging session has ended.
        until_ms: The moment at which other rules hold, Unix milliseconds. None: the same rules hold for ever.
        outputs: What the ranker predicted for its items. None: the list is of another tier.
        surfaces_version: The version of the surfaces that it was made by. 0: the settings of the process.
    """

    slate: slate_pb2.Slate
    rows: NDArray[np.int64]
    remaining: int
    until_ms: int | None = None
    outputs: ModelOutputs | None = None
    surfaces_version: int = 0
