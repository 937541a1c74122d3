"""Popularity for ranking, on top of the catalogue's decayed counts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from catalog.popularity.popularity import EVER
from inference.bundle.bundle import Manifest
from inference.model import Floats
from ranking.query import Mask, Rows

_DAY_S: Final = 86_400.0
_LASTING_DAYS: Final = 14.0
"""The half-life of lasting popularity without a model."""


class Popularity:
    """Reads the same counts with several half-lives.

    Trends have a short half-life, and lasting popularity a longer one. The ranker gets those that it was trained with,
    from the manifest. Counts decay when they are read, so yesterday's burst does not look like today's.
    """

    def __init__(self, catalog: InMemoryCatalog, trending_half_life_s: float) -> None:
        self._catalog = catalog
        self._trending = trending_half_life_s

    def scores(self, now_ms: int, rows: Rows) -> NDArray[np.float64]:
        """Scores of popular lists, float64 [m] for the rows [m]: the trend, and without one all positive events."""
        return self.trend(now_ms)[rows].astype(np.float64) + EVER * self._catalog.positives[rows]

    def trend(self, now_ms: int) -> Floats:
        """Positive events weighted by age with the trending half-life, [n]."""
        return self._catalog.popularity(now_ms, self._trending)

    def features(self, now_ms: int, manifest: Manifest, rows: Rows) -> Floats:
        """The ranker's inputs, [m, P] for the rows [m]: positive events weighted by age with each half-life of the
        manifest."""
        half_lives = manifest.popularity_half_lives_days
        return np.stack(
            [self._catalog.popularity(now_ms, days * _DAY_S)[rows] for days in half_lives], axis=1
        )

    def trending(self, now_ms: int, allowed: Mask, count: int) -> Rows:
        """The `count` rows with the largest trend among the allowed ones (bool [n]), best first. Fewer if there are
        fewer."""
        return self._catalog.most_popular(now_ms, self._trending, allowed, count)

    def lasting(self, now_ms: int, manifest: Manifest | None, allowed: Mask, count: int) -> Rows:
        """As `trending`, but with the middle half-life of the manifest, or two weeks without a manifest."""
        half_lives = manifest.popularity_half_lives_days if manifest is not None else (_LASTING_DAYS,)
        days = half_lives[len(half_lives) // 2]
        return self._catalog.most_popular(now_ms, days * _DAY_S, allowed, count)
