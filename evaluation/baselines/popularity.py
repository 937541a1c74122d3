"""The popular list: what everybody is shown who says nothing of himself."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.interface import Queries
from models.data.events import Events, Floats, Ints

_MILLISECONDS_A_DAY = 86_400_000.0


class Popularity:
    """Events of each item that an ask may know of, weighed by age 2^(-age / half-life) where there is one.

    counted: which rows of the events may be counted at all [rows]. Without a half-life, all of them below
    the ask's `visible`; with one, those that were also there when it was asked.
    """

    name = "popularity"

    def __init__(self, known: Events, counted: NDArray[np.bool_], half_life_days: float | None) -> None:
        self._known, self._counted = known, counted
        self._half_life_ms = half_life_days * _MILLISECONDS_A_DAY if half_life_days else None
        self._restart()

    def scores(self, queries: Queries) -> Floats:
        """[b, items]."""
        limits = np.asarray(queries.visible, np.int64)
        if self._half_life_ms is not None:
            limits = np.minimum(limits, np.searchsorted(self._known.time_ms, queries.time_ms, side="right"))
        found = np.empty((len(limits), len(self._known.item_ids)), np.float32)
        for place in np.argsort(limits, kind="stable").tolist():
            self._count(int(limits[place]))
            found[place] = self._now * self._decay(queries.time_ms[place] - self._moment)
        return found

    def _restart(self) -> None:
        self._now = np.zeros(len(self._known.item_ids))
        self._row, self._moment = 0, int(self._known.time_ms[0])

    def _count(self, limit: int) -> None:
        """Counts what comes before row `limit`. What was counted last time is gone on with."""
        if limit < self._row:
            self._restart()
        rows = np.arange(self._row, limit)
        rows = rows[self._counted[rows]]
        self._row = limit
        if not len(rows):
            return
        moment = int(self._known.time_ms[rows[-1]])
        self._now *= self._decay(np.int64(moment - self._moment))
        np.add.at(self._now, self._known.items[rows], self._decay(moment - self._known.time_ms[rows]))
        self._moment = moment

    def _decay(self, age_ms: Ints | np.int64) -> NDArray[np.float64]:
        if self._half_life_ms is None:
            return np.ones(np.shape(age_ms))
        return np.asarray(np.exp2(-np.maximum(age_ms, 0) / self._half_life_ms))
