"""The hours of all items' statistics in flat arrays: sums over many of them are a few array operations."""

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Column
from catalog.stats import HOUR_MS, HOURS_AHEAD, MAX_HOURS
from recstream.storage.v1 import catalog_pb2


class Buckets:
    """Hours and counts by row. A row has a span of places with room to grow; a span that is outgrown is left
    behind with counts of 0, which at most doubles what is held."""

    def __init__(self) -> None:
        self._hours = Column(np.int32, 0)
        self._counts = Column(np.int32, 0)
        self._owners = Column(np.int64, 0)
        self._starts = Column(np.int64, 0)
        self._rooms = Column(np.int64, 0)
        self._used = 0
        self.rows = 0

    def put(self, row: int, stats: catalog_pb2.ItemStats) -> None:
        """Replaces the row's hours."""
        self.rows = max(self.rows, row + 1)
        self._starts.reserve(row + 1)
        self._rooms.reserve(row + 1)
        size = len(stats.hours)
        start, room = int(self._starts.array[row]), int(self._rooms.array[row])
        self._counts.array[start : start + room] = 0
        if size > room:
            start, room = self._used, max(size, min(2 * size, MAX_HOURS))
            self._used += room
            for column in (self._hours, self._counts):
                column.reserve(self._used)
            self._owners.reserve(self._used)
            self._owners.array[start : start + room] = row
            self._starts.array[row], self._rooms.array[row] = start, room
        if size:
            hours = np.array([bucket.hour for bucket in stats.hours], dtype=np.int64)
            counts = np.array([bucket.count for bucket in stats.hours], dtype=np.int64)
            # Half the width, half the time; no true hour or count comes near the ends.
            self._hours.array[start : start + size] = hours.clip(-(2**31), 2**31 - 1)
            self._counts.array[start : start + size] = counts.clip(-(2**31), 2**31 - 1)

    def sums(self, rows: NDArray[np.int64], now_ms: int, half_life_s: float) -> NDArray[np.float64]:
        """The counts of each of the rows, weighed by age as `catalog.stats.decayed` does. `rows` lie below
        `self.rows`."""
        rooms = self._rooms.array[rows]
        ends = np.cumsum(rooms)
        total = int(ends[-1]) if len(ends) else 0
        # The places of all spans, one after the other.
        places = np.repeat(self._starts.array[rows] - (ends - rooms), rooms) + np.arange(total)
        owners = np.repeat(np.arange(len(rows)), rooms)
        return _totals(owners, self._weighed(places, now_ms, half_life_s), len(rows))

    def all_sums(self, now_ms: int, half_life_s: float) -> NDArray[np.float64]:
        """The same of every row, [self.rows]."""
        used = slice(0, self._used)
        return _totals(self._owners.array[used], self._weighed(used, now_ms, half_life_s), self.rows)

    def _weighed(
        self, places: slice | NDArray[np.int64], now_ms: int, half_life_s: float
    ) -> NDArray[np.float64]:
        # In place: at millions of buckets, fresh pages cost more than the arithmetic.
        weights = self._hours.array[places].astype(np.float64)
        np.subtract(now_ms / HOUR_MS, weights, out=weights)
        np.maximum(weights, -HOURS_AHEAD, out=weights)
        weights *= -3600 / half_life_s
        np.exp2(weights, out=weights)
        weights *= self._counts.array[places]
        return weights


def _totals(owners: NDArray[np.int64], weights: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    # Without a single weight, bincount counts in integers.
    return np.bincount(owners, weights, minlength=rows).astype(np.float64, copy=False)
