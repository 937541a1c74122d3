"""Popularity as in serving: positive events until a moment, weighted by age, 2^(-age / half-life)."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

_MILLISECONDS_A_DAY = 86_400_000.0
_MAX_NUMBERS = 64_000_000


class PopularityHistory:
    """The popularity of every item over time.

    It is stored at some moments and decayed from the last of them to the moment in question. So it never counts later
    events, and misses those since the stored moment.
    """

    def __init__(self, chunks: Iterable[Events], items: int, half_life_days: float, times: Ints) -> None:
        """
        Args:
            chunks: the events, each in one chunk, in any order.
            items: number of items.
            half_life_days: half-life of a positive event's weight.
            times: the stored moments, ascending, Unix milliseconds.
        """
        self._half_life_ms = half_life_days * _MILLISECONDS_A_DAY
        self._times = times
        self._weights = np.zeros((len(times), items), np.float32)
        flat = self._weights.reshape(-1)
        for chunk in chunks:
            # An event at a stored moment is not in its past: it counts from the next one.
            moment = np.searchsorted(times, chunk.time_ms, side="right")
            rows = np.flatnonzero(chunk.positive & (moment < len(times)))
            age = times[moment[rows]] - chunk.time_ms[rows]
            keys, which = np.unique(moment[rows] * items + chunk.items[rows], return_inverse=True)
            flat[keys] += np.bincount(which, self._decay(age), len(keys)).astype(np.float32)
        current = np.zeros(items)
        for row, decay in zip(self._weights, self._decay(np.diff(times, prepend=times[:1])), strict=True):
            current *= decay
            current += row
            row[:] = current

    @classmethod
    def of(cls, events: Events, half_life_days: float, snapshots: int = 512) -> "PopularityHistory":
        """Stores the popularity at moments that are spread evenly over the events, `snapshots` at most."""
        items = len(events.item_ids)
        count = max(1, min(snapshots, len(events), _MAX_NUMBERS // max(items, 1)))
        cuts = np.linspace(0, len(events), count, endpoint=False).astype(np.int64)
        return cls([events], items, half_life_days, events.time_ms[cuts])

    def at(self, time_ms: Ints) -> Floats:
        """Popularity [b, items] at moments [b], Unix milliseconds."""
        moment = np.clip(np.searchsorted(self._times, time_ms, side="right") - 1, 0, None)
        age = np.maximum(time_ms - self._times[moment], 0)
        found: Floats = self._weights[moment] * self._decay(age)[:, None].astype(np.float32)
        return found

    def _decay(self, age_ms: Ints) -> NDArray[np.float64]:
        return np.asarray(np.exp2(-age_ms / self._half_life_ms))
