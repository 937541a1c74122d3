"""Scored candidates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model import Ranking
from recstream.v1 import slate_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A score for each of m candidates, and where it is from.

    values [m]: higher is better; not finite for one that could not be scored, such as an item without a
    vector.
    model_version: 0 where no model had a part in it.
    ranking: what the ranker said; None on the other tiers.
    """

    values: NDArray[np.float64]
    tier: "slate_pb2.Tier.ValueType"
    model_version: int = 0
    ranking: Ranking | None = None
