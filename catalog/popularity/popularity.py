"""How often items are acted on, weighted by the age that events have when the figures are read."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Column, Table
from catalog.popularity.buckets import Buckets, decaying
from catalog.popularity.counters import Counters
from catalog.popularity.stats import HOUR_MS
from catalog.popularity.windows import Windows
from recstream.storage.v1 import catalog_pb2

S = TypeVar("S", np.float64, np.int64)

EVER: Final = 1e-6
"""What a positive event of any age adds to an item's score. It decides between items without recent events, and hardly
matters otherwise."""
_HALF_LIVES = 16
# This many of the most popular rows are sorted once for each reading. Nearly every list finds enough among them.
_LEADERS = 4096
# After this many half-lives, sums are computed again for the present, before they overflow float64.
_CARRIED = 200.0


@dataclass(slots=True)
class _Decay:
    """Sums for one half-life. All weights decay at the same rate, so one factor turns the sum at one moment into the
    sum at another.

    Attributes:
        reference_ms: The moment that the sums are computed for.
        summed_ms: The latest moment at which counters were summed.
        counters: Sums by counter.
        sums: Sums by row.
        changed: Counters to be summed again.
        ahead: Counters with an hour whose weight was capped when they were summed.
        read_at_ms: The moment of the last reading.
        read: The figures of the last reading, [rows].
        leaders: The most popular rows of the last reading, best first.
    """

    reference_ms: int
    summed_ms: int
    counters: Column[np.float64]
    sums: Column[np.float64]
    changed: set[int] = field(default_factory=set)
    ahead: set[int] = field(default_factory=set)
    read_at_ms: int = 0
    read: NDArray[np.float32] | None = None
    leaders: NDArray[np.int64] | None = None


class Popularity:
    """Statistics by row. A row's statistics are the sum of its counters, one for each partition of `interactions`.

    Args:
        reuse_ms: How long a reading may be returned again.
    """

    def __init__(self, reuse_ms: float) -> None:
        self._reuse_ms = reuse_ms
        self._rows = 0
        by_counter, by_row = Table(), Table()
        self._counters = Counters(by_counter, by_row)
        self._positives = by_row.column(np.int64, 0)
        self._counter_positives = by_counter.column(np.int64, 0)
        self._buckets = Buckets(by_counter)
        self._decays: OrderedDict[float, _Decay] = OrderedDict()
        self._windows = Windows(self._buckets, self._counters)

    def put(self, row: int, stats: catalog_pb2.ItemStats, partition: int = 0) -> None:
        """Replaces what one partition has counted for the row."""
        counter = self._counters.number(row, partition)
        self._rows = max(self._rows, row + 1)
        self._positives.array[row] += stats.positives - self._counter_positives.array[counter]
        self._counter_positives.array[counter] = stats.positives
        self._buckets.put(counter, stats)
        for decay in self._decays.values():
            decay.changed.add(counter)
        self._windows.note(counter)

    def positives(self, rows: int) -> NDArray[np.int64]:
        """Number of all positive events, [rows]."""
        return self._positives.view(rows)

    def counted(self, first_hour: int, rows: int) -> NDArray[np.float64]:
        """Number of positive events since an hour, [rows]. See `Windows.counted`."""
        return self._windows.counted(first_hour, rows)

    def decayed(self, now_ms: int, half_life_s: float, rows: int) -> NDArray[np.float32]:
        """Positive events weighted by age, [rows], as `catalog.popularity.stats.decayed` defines it. Read-only."""
        decay = self._decays.get(half_life_s)
        if decay is None:
            decay = self._decays[half_life_s] = self._summed(now_ms, half_life_s)
            if len(self._decays) > _HALF_LIVES:
                self._decays.popitem(last=False)
        self._decays.move_to_end(half_life_s)
        read = decay.read
        if read is None or len(read) < rows or not 0 <= now_ms - decay.read_at_ms < self._reuse_ms:
            # Hours that were not capped when they were summed may have to be capped at an earlier moment.
            if (
                abs(now_ms - decay.reference_ms) > _CARRIED * half_life_s * 1000
                or now_ms // HOUR_MS < decay.summed_ms // HOUR_MS
            ):
                decay = self._decays[half_life_s] = self._summed(now_ms, half_life_s)
            read = decay.read = self._read(decay, now_ms, half_life_s, rows)
            decay.read_at_ms = now_ms
            decay.leaders = None
        return read[:rows]

    def most(
        self,
        now_ms: int,
        half_life_s: float,
        mask: NDArray[np.bool_],
        count: int,
        ties: NDArray[np.uint64],
    ) -> NDArray[np.int64]:
        """The most popular rows, best first.

        Rows are ordered by positive events weighted by age. If those are equal, the number of all positive events
        decides, and then the row's tie.

        Args:
            now_ms: Unix time in milliseconds.
            half_life_s: Age in seconds at which an event counts half.
            mask: Which rows may be returned, [rows].
            count: How many. Fewer are returned if the mask has fewer.
            ties: A number for each row that was read, the same at each call. Lower ones come first.
        """
        read = self.decayed(now_ms, half_life_s, len(mask))
        decay = self._decays[half_life_s]
        if decay.leaders is None:
            # Over all rows, not only those of this mask, because other queries share the reading.
            whole = read if decay.read is None else decay.read
            decay.leaders = self._best(whole, np.arange(len(whole)), _LEADERS, ties)
        leaders = decay.leaders[decay.leaders < len(mask)]
        found = leaders[mask[leaders]][:count]
        # Every row that is not among the leaders comes after them.
        return found if len(found) == count else self._best(read, np.flatnonzero(mask), count, ties)

    def _best(
        self, decayed: NDArray[np.float32], rows: NDArray[np.int64], count: int, ties: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        return best(decayed[rows] + EVER * self.positives(len(decayed))[rows], rows, count, ties[rows])

    def _read(self, decay: _Decay, now_ms: int, half_life_s: float, rows: int) -> NDArray[np.float32]:
        if due := decay.changed | decay.ahead:
            counters = np.fromiter(due, np.int64, len(due))
            decay.counters.reserve(len(self._counters))
            weights = decaying(decay.reference_ms, now_ms, half_life_s)
            decay.counters.array[counters] = self._buckets.sums(counters, weights)
            changed = self._counters.rows(counters)
            decay.sums.reserve(self._rows)
            decay.sums.array[changed] = self._counters.totals(changed, decay.counters.array)
            decay.summed_ms = max(decay.summed_ms, now_ms)
            decay.ahead = set(self._buckets.ahead(counters, now_ms).tolist())
            decay.changed.clear()
        decay.sums.reserve(rows)
        halvings = (now_ms - decay.reference_ms) / (half_life_s * 1000)
        read: NDArray[np.float32] = (decay.sums.array[:rows] * 2.0**-halvings).astype(np.float32)
        read.flags.writeable = False
        return read

    def _summed(self, now_ms: int, half_life_s: float) -> _Decay:
        count = len(self._counters)
        counters, sums = Table().column(np.float64, 0.0), Table().column(np.float64, 0.0)
        counters.reserve(count)
        sums.reserve(self._rows)
        counters.array[:count] = self._buckets.all_sums(count, decaying(now_ms, now_ms, half_life_s))
        sums.array[: self._rows] = self._counters.all_totals(self._rows, counters.array)
        ahead = self._buckets.ahead(np.arange(count), now_ms)
        return _Decay(now_ms, now_ms, counters, sums, ahead=set(ahead.tolist()))


def best(
    scores: NDArray[S], rows: NDArray[np.int64], count: int, ties: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """The `count` of the rows [m] with the highest scores [m], best first. Of equal scores, the lower ties [m] come
    first."""
    if count < len(rows):
        # Many rows may share the lowest score that is still in.
        lowest = np.partition(scores, len(rows) - count)[len(rows) - count]
        above, level = np.flatnonzero(scores > lowest), np.flatnonzero(scores == lowest)
        if (left := count - len(above)) < len(level):
            level = level[np.argpartition(ties[level], left)[:left]]
        chosen = np.concatenate([above, level])
        rows, scores, ties = rows[chosen], scores[chosen], ties[chosen]
    return rows[np.lexsort((ties, -scores))]
