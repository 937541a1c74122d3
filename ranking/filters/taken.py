"""Nothing twice."""

import numpy as np

from ranking.query import Mask, Query, Rows


class Taken:
    """Leaves out what the user has taken (as far as the action's settings allow no repeats), what the request
    excludes, and what earlier pages of its session showed."""

    def mask(self, query: Query, size: int) -> Mask:
        """See `Filter.mask`."""
        allowed = np.ones(size, np.bool_)
        allowed[query.taken[query.taken < size]] = False
        return allowed

    def still(self, query: Query, rows: Rows, now_ms: int) -> Mask:
        """See `Filter.still`: it holds for the whole request."""
        return np.ones(len(rows), np.bool_)
