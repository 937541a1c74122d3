"""The popular list, for users of whom nothing is known."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.interface import Queries
from models.data.events import Events, Floats, Ints

_MILLISECONDS_A_DAY = 86_400_000.0


class Popularity:
    """Scores an item by its number of events. With a half-life, an event weighs 2^(-age / half-life).

    A query counts events below its `visible` row. With a half-life, they must also not be later than the query.
    """

    name = "popularity"

    def __init__(self, known: Events, counted: NDArray[np.bool_], half_life_days: float | None) -> None:
        """Args:
        known: The events.
        counted: Which of them may be counted, bool [rows].
        half_life_days: Age at which an event counts half. None: age does not matter.
        """
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
        """Counts the events before row `limit`. It continues the last count if that ended earlier."""
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
