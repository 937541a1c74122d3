"""The middle tier: user vector against item vectors."""

import numpy as np

from inference.model import Floats
from ranking.query import User
from ranking.scorers.scores import Scores
from recstream.v1 import slate_pb2


def score(user: User, vectors: Floats) -> Scores | None:
    """Inner products of the user's vector with the candidates' [m, d], all of one model version; not
    finite for a candidate without a vector (zeros). None if no candidate could be scored."""
    if vectors.shape[1] != len(user.vector):
        return None
    values = (vectors @ user.vector).astype(np.float64)
    values[~vectors.any(axis=1)] = np.nan
    if not np.isfinite(values).any():
        return None
    return Scores(values, slate_pb2.TIER_VECTORS, user.version)
