"""Popularity as serving sees it: positive events weighed by age, 2^(-age / half-life), as of a moment."""

import numpy as np

from models.data import Events, Floats, Ints

_MILLISECONDS_A_DAY = 86_400_000.0


class PopularityHistory:
    """The popularity of every item at any moment of the events.

    Snapshots are kept at moments spread evenly over the events; in between a snapshot is decayed to the
    moment asked for. So it is never newer than the moment, and at most one snapshot older.
    """

    def __init__(self, events: Events, half_life_days: float, snapshots: int = 512) -> None:
        self._half_life_ms = half_life_days * _MILLISECONDS_A_DAY
        items = len(events.item_ids)
        count = max(1, min(snapshots, len(events), 64_000_000 // max(items, 1)))
        cuts = np.linspace(0, len(events), count, endpoint=False).astype(np.int64)
        self._times = events.time_ms[cuts]
        self._weights = np.zeros((count, items), np.float32)
        current, now = np.zeros(items), self._times[0]
        for place in range(1, count):
            rows = slice(cuts[place - 1], cuts[place])
            then = self._times[place]
            current *= self._decay(then - now)
            # Events of the snapshot's own moment are not in its past.
            rows_in = events.positive[rows]
            np.add.at(current, events.items[rows][rows_in], self._decay(then - events.time_ms[rows][rows_in]))
            self._weights[place] = current
            now = then

    def at(self, time_ms: Ints) -> Floats:
        """Popularity [b, items] at b moments."""
        place = np.clip(np.searchsorted(self._times, time_ms, side="right") - 1, 0, None)
        age = np.maximum(time_ms - self._times[place], 0)
        found: Floats = self._weights[place] * self._decay(age)[:, None].astype(np.float32)
        return found

    def _decay(self, age_ms: Ints) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        return np.asarray(np.exp2(-age_ms / self._half_life_ms))
