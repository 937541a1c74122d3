"""Popularity as serving sees it: positive events weighed by age, 2^(-age / half-life), as of a moment."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

_MILLISECONDS_A_DAY = 86_400_000.0
_MOST_NUMBERS = 64_000_000


class PopularityHistory:
    """The popularity of every item at any moment from the first of some on, at which it is kept.

    In between it is decayed to the moment asked for. So it is never newer than the moment, and at most as much older as
    two of them are apart.
    """

    def __init__(self, parts: Iterable[Events], items: int, half_life_days: float, times: Ints) -> None:
        """parts: the events, each in one of them, in any order. times: the moments, ascending."""
        self._half_life_ms = half_life_days * _MILLISECONDS_A_DAY
        self._times = times
        self._weights = np.zeros((len(times), items), np.float32)
        flat = self._weights.reshape(-1)
        for part in parts:
            # Events of a moment are not in its past: each counts from the first that is later.
            place = np.searchsorted(times, part.time_ms, side="right")
            rows = np.flatnonzero(part.positive & (place < len(times)))
            age = times[place[rows]] - part.time_ms[rows]
            keys, which = np.unique(place[rows] * items + part.items[rows], return_inverse=True)
            flat[keys] += np.bincount(which, self._decay(age), len(keys)).astype(np.float32)
        current = np.zeros(items)
        for row, decay in zip(self._weights, self._decay(np.diff(times, prepend=times[:1])), strict=True):
            current *= decay
            current += row
            row[:] = current

    @classmethod
    def of(cls, events: Events, half_life_days: float, snapshots: int = 512) -> "PopularityHistory":
        """Kept at moments spread evenly over the events."""
        items = len(events.item_ids)
        count = max(1, min(snapshots, len(events), _MOST_NUMBERS // max(items, 1)))
        cuts = np.linspace(0, len(events), count, endpoint=False).astype(np.int64)
        return cls([events], items, half_life_days, events.time_ms[cuts])

    def at(self, time_ms: Ints) -> Floats:
        """Popularity [b, items] at b moments."""
        place = np.clip(np.searchsorted(self._times, time_ms, side="right") - 1, 0, None)
        age = np.maximum(time_ms - self._times[place], 0)
        found: Floats = self._weights[place] * self._decay(age)[:, None].astype(np.float32)
        return found

    def _decay(self, age_ms: Ints) -> NDArray[np.float64]:
        return np.asarray(np.exp2(-age_ms / self._half_life_ms))
