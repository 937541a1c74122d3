"""Hourly and daily counts of all counters in flat arrays, so that sums over many counters take few array operations."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Table
from catalog.popularity.stats import DAY_HOURS, HOUR_MS, HOURS_AHEAD, MAX_DAYS, MAX_HOURS, MIDDLE_OF_DAY
from recstream.storage.v1 import catalog_pb2

Weights = Callable[[NDArray[np.int32]], NDArray[np.float64]]
"""Returns the weight of an event of each of these hours, in a new array."""

_CHUNK = 4096
"""Counters per array operation. The buckets of this many fit into a processor's cache."""


class Buckets:
    """Hours and their counts for each counter of `catalog.popularity.counters`. A day is stored as its middle hour.

    Each counter has a contiguous span of slots with room to grow. When a span is outgrown, a larger one is taken and
    the old one stays behind with counts of 0. That at most doubles the memory.

    Args:
        by_counter: Already has a place for every counter that is passed to the methods.
    """

    def __init__(self, by_counter: Table) -> None:
        self._by_slot = Table()
        self._hours = self._by_slot.column(np.int32, 0)
        self._counts = self._by_slot.column(np.int32, 0)
        self._used = 0
        self._starts = by_counter.column(np.int64, 0)
        self._rooms = by_counter.column(np.int64, 0)
        self._newest = by_counter.column(np.int32, 0)

    def put(self, counter: int, stats: catalog_pb2.ItemStats) -> None:
        """Replaces the counter's hours and days."""
        days = len(stats.days)
        size = days + len(stats.hours)
        start, room = int(self._starts.array[counter]), int(self._rooms.array[counter])
        self._counts.array[start : start + room] = 0
        if size > room:
            start, room = self._used, max(size, min(2 * size, MAX_HOURS + MAX_DAYS))
            self._by_slot.reserve(start + room)
            self._used = start + room
            self._starts.array[counter], self._rooms.array[counter] = start, room
        self._newest.array[counter] = 0
        if size:
            hours, counts = np.empty(size, np.int64), np.empty(size, np.int64)
            hours[:days] = stats.days[:]
            hours[:days] *= DAY_HOURS
            hours[:days] += MIDDLE_OF_DAY
            counts[:days] = stats.day_counts[:]
            hours[days:] = [bucket.hour for bucket in stats.hours]
            counts[days:] = [bucket.count for bucket in stats.hours]
            # int32 takes half the time of int64, and no real hour or count comes near its limits.
            hours, counts = hours.clip(-(2**31), 2**31 - 1), counts.clip(-(2**31), 2**31 - 1)
            self._hours.array[start : start + size] = hours
            self._newest.array[counter] = hours.max()
            self._hours.array[start + size : start + room] = hours[-1]  # near the others, see `decaying`
            self._counts.array[start : start + size] = counts

    def ahead(self, counters: NDArray[np.int64], now_ms: int) -> NDArray[np.int64]:
        """Those counters that have an hour so far ahead of now that its weight is capped."""
        return counters[self._newest.array[counters] > now_ms / HOUR_MS + HOURS_AHEAD]

    def sums(self, counters: NDArray[np.int64], weights_of: Weights) -> NDArray[np.float64]:
        """Sums of weighted counts, one for each counter, [len(counters)]."""
        sums = np.zeros(len(counters))
        positions = np.flatnonzero(self._rooms.array[counters])
        for at in range(0, len(positions), _CHUNK):
            some = positions[at : at + _CHUNK]
            rooms = self._rooms.array[counters[some]]
            firsts = np.cumsum(rooms) - rooms
            # The slots of all spans, one span after the other.
            spans = np.repeat(self._starts.array[counters[some]] - firsts, rooms)
            spans += np.arange(len(spans))
            weights = weights_of(self._hours.array[spans])
            weights *= self._counts.array[spans]
            sums[some] = np.add.reduceat(weights, firsts)
        return sums

    def all_sums(self, count: int, weights_of: Weights) -> NDArray[np.float64]:
        """`sums` of the first `count` counters, [count]."""
        sums = np.zeros(count)
        counters = np.flatnonzero(self._rooms.array[:count])
        counters = counters[np.argsort(self._starts.array[counters])]
        for at in range(0, len(counters), _CHUNK):
            some = counters[at : at + _CHUNK]
            starts = self._starts.array[some]
            # Outgrown spans between them do no harm, because their counts are 0.
            span = slice(int(starts[0]), int(starts[-1] + self._rooms.array[some[-1]]))
            weights = weights_of(self._hours.array[span])
            weights *= self._counts.array[span]
            sums[some] = np.add.reduceat(weights, starts - starts[0])
        return sums


def since(first_hour: int) -> Weights:
    """Weights 1 from this hour on, and 0 before it, as in `catalog.popularity.stats.counted`."""

    def weights(hours: NDArray[np.int32]) -> NDArray[np.float64]:
        return (hours >= first_hour).astype(np.float64)

    return weights


def decaying(reference_ms: int, now_ms: int, half_life_s: float) -> Weights:
    """The weights of `catalog.popularity.stats.decayed` at `now_ms`, times 2^((reference - now) / half-life)."""

    def weights(hours: NDArray[np.int32]) -> NDArray[np.float64]:
        # Many buckets share few hours, so each hour is computed once unless they lie far apart.
        low, high = int(hours.min()), int(hours.max())
        if high - low > len(hours):
            return _computed(hours.astype(np.float64), reference_ms, now_ms, half_life_s)
        table = _computed(np.arange(low, high + 1, dtype=np.float64), reference_ms, now_ms, half_life_s)
        found: NDArray[np.float64] = table[hours - low]
        return found

    return weights


def _computed(
    hours: NDArray[np.float64], reference_ms: int, now_ms: int, half_life_s: float
) -> NDArray[np.float64]:
    # Capped relative to now, not to the reference: hours that begin after the reference moment are normal.
    np.minimum(hours, now_ms / HOUR_MS + HOURS_AHEAD, out=hours)
    hours -= reference_ms / HOUR_MS
    hours *= 3600 / half_life_s
    np.exp2(hours, out=hours)
    return hours
