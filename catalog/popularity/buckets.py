"""The hours and days of all statistics in flat arrays: sums over many of them are a few array operations."""

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Table
from catalog.popularity.stats import DAY_HOURS, HOUR_MS, HOURS_AHEAD, MAX_DAYS, MAX_HOURS, MIDDLE_OF_DAY
from recstream.storage.v1 import catalog_pb2

_AT_ONCE = 4096
"""So many parts are worked on at once: their buckets fit into a processor's cache."""


class Buckets:
    """Hours and counts by part (see `catalog.popularity.parts`); a day is held as the hour in its middle. A part has a
    span of places with room to grow; a span that is outgrown is left behind with counts of 0, which at most doubles
    what is held. `by_part` has room for every part that is named here."""

    def __init__(self, by_part: Table) -> None:
        self._places = Table()
        self._hours = self._places.column(np.int32, 0)
        self._counts = self._places.column(np.int32, 0)
        self._used = 0
        self._starts = by_part.column(np.int64, 0)
        self._rooms = by_part.column(np.int64, 0)
        self._newest = by_part.column(np.int32, 0)

    def put(self, part: int, stats: catalog_pb2.ItemStats) -> None:
        """Replaces the part's hours and days."""
        days = len(stats.days)
        size = days + len(stats.hours)
        start, room = int(self._starts.array[part]), int(self._rooms.array[part])
        self._counts.array[start : start + room] = 0
        if size > room:
            start, room = self._used, max(size, min(2 * size, MAX_HOURS + MAX_DAYS))
            self._places.reserve(start + room)
            self._used = start + room
            self._starts.array[part], self._rooms.array[part] = start, room
        self._newest.array[part] = 0
        if size:
            hours, counts = np.empty(size, np.int64), np.empty(size, np.int64)
            hours[:days] = stats.days[:]
            hours[:days] *= DAY_HOURS
            hours[:days] += MIDDLE_OF_DAY
            counts[:days] = stats.day_counts[:]
            hours[days:] = [bucket.hour for bucket in stats.hours]
            counts[days:] = [bucket.count for bucket in stats.hours]
            # Half the width, half the time; no true hour or count comes near the ends.
            hours, counts = hours.clip(-(2**31), 2**31 - 1), counts.clip(-(2**31), 2**31 - 1)
            self._hours.array[start : start + size] = hours
            self._newest.array[part] = hours.max()
            self._hours.array[start + size : start + room] = hours[-1]  # near the others, see `_weights`
            self._counts.array[start : start + size] = counts

    def ahead(self, parts: NDArray[np.int64], now_ms: int) -> NDArray[np.int64]:
        """Of these parts those with an hour that lies too far ahead of now to weigh as much as it would."""
        return parts[self._newest.array[parts] > now_ms / HOUR_MS + HOURS_AHEAD]

    def sums(
        self, parts: NDArray[np.int64], reference_ms: int, now_ms: int, half_life_s: float
    ) -> NDArray[np.float64]:
        """The counts of each of these parts, weighed by age as `catalog.popularity.stats.decayed` does now, and brought
        to the reference moment: times 2^((reference - now) / half-life)."""
        sums = np.zeros(len(parts))
        places = np.flatnonzero(self._rooms.array[parts])
        for at in range(0, len(places), _AT_ONCE):
            some = places[at : at + _AT_ONCE]
            rooms = self._rooms.array[parts[some]]
            firsts = np.cumsum(rooms) - rooms
            # The places of all spans, one after the other.
            spans = np.repeat(self._starts.array[parts[some]] - firsts, rooms)
            spans += np.arange(len(spans))
            weights = _weights(self._hours.array[spans], reference_ms, now_ms, half_life_s)
            weights *= self._counts.array[spans]
            sums[some] = np.add.reduceat(weights, firsts)
        return sums

    def all_sums(self, count: int, now_ms: int, half_life_s: float) -> NDArray[np.float64]:
        """The same of the first `count` parts, [count], with now as the reference."""
        sums = np.zeros(count)
        parts = np.flatnonzero(self._rooms.array[:count])
        parts = parts[np.argsort(self._starts.array[parts])]
        for at in range(0, len(parts), _AT_ONCE):
            some = parts[at : at + _AT_ONCE]
            starts = self._starts.array[some]
            # Spans that were left behind lie between them and count 0.
            span = slice(int(starts[0]), int(starts[-1] + self._rooms.array[some[-1]]))
            weights = _weights(self._hours.array[span], now_ms, now_ms, half_life_s)
            weights *= self._counts.array[span]
            sums[some] = np.add.reduceat(weights, starts - starts[0])
        return sums


def _weights(
    hours: NDArray[np.int32], reference_ms: int, now_ms: int, half_life_s: float
) -> NDArray[np.float64]:
    """Weights of these hours. Many buckets share few hours: each is worked out once, unless they are far apart."""
    low, high = int(hours.min()), int(hours.max())
    if high - low > len(hours):
        return _worked_out(hours.astype(np.float64), reference_ms, now_ms, half_life_s)
    table = _worked_out(np.arange(low, high + 1, dtype=np.float64), reference_ms, now_ms, half_life_s)
    found: NDArray[np.float64] = table[hours - low]
    return found


def _worked_out(
    hours: NDArray[np.float64], reference_ms: int, now_ms: int, half_life_s: float
) -> NDArray[np.float64]:
    # Ahead of now, not of the reference: hours come that had not begun at that moment.
    np.minimum(hours, now_ms / HOUR_MS + HOURS_AHEAD, out=hours)
    hours -= reference_ms / HOUR_MS
    hours *= 3600 / half_life_s
    np.exp2(hours, out=hours)
    return hours
