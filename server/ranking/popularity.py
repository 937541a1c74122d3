"""Popularity as ranking sees it, on top of the catalogue's decayed counts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.contents import Contents
from inference.model import Floats
from server.ranking.query import Rows

_EVER: Final = 1e-6
"""What a positive event of any age adds: it decides where nothing happened lately, and hardly elsewhere."""


class Popularity:
    """Two readings of the same counts: for trending lists with a short half-life, and for the ranker as
    it was trained. Both decay at the read, so that yesterday's burst is not taken for today's."""

    def __init__(self, catalog: Contents, trending_half_life_s: float, feature_half_life_s: float) -> None:
        self._catalog = catalog
        self._trending = trending_half_life_s
        self._feature = feature_half_life_s

    def scores(self, now_ms: int, rows: Rows) -> NDArray[np.float64]:
        """What popular lists go by, float64 [m] for the rows [m]: the trend, and where there is none,
        positive events ever."""
        return self.trend(now_ms)[rows].astype(np.float64) + _EVER * self._catalog.positives[rows]

    def trend(self, now_ms: int) -> Floats:
        """Positive events weighed by age with the trending half-life, [n]."""
        return self._catalog.popularity(now_ms, self._trending)

    def feature(self, now_ms: int) -> Floats:
        """Positive events weighed by age as the ranker takes them, [n]."""
        return self._catalog.popularity(now_ms, self._feature)
