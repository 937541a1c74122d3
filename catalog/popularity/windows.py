"""How often items were acted on in a window of time."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Column, Table
from catalog.popularity.buckets import Buckets, since
from catalog.popularity.counters import Counters

_WINDOWS: Final = 8


@dataclass(slots=True)
class _Window:
    """Sums of the positive events since one hour.

    Attributes:
        counters: Sums by counter.
        rows: Sums by row.
        changed: Counters to be summed again.
    """

    counters: Column[np.float64]
    rows: Column[np.float64]
    changed: set[int] = field(default_factory=set)


class Windows:
    """The numbers of positive events since the last hours that were asked for.

    A window is summed once, and then only the counters that changed are. Windows that begin in the same hour are one.
    """

    def __init__(self, buckets: Buckets, counters: Counters) -> None:
        self._buckets = buckets
        self._counters = counters
        self._windows: OrderedDict[int, _Window] = OrderedDict()

    def note(self, counter: int) -> None:
        """Notes that a counter changed."""
        for window in self._windows.values():
            window.changed.add(counter)

    def counted(self, first_hour: int, rows: int) -> NDArray[np.float64]:
        """The number of positive events of each row since an hour, [rows]. Read-only, and valid until the next change.

        `catalog.popularity.stats.counted` defines it.
        """
        window = self._windows.get(first_hour)
        if window is None:
            window = self._windows[first_hour] = self._summed(first_hour)
            if len(self._windows) > _WINDOWS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(first_hour)
        if window.changed:
            counters = np.fromiter(window.changed, np.int64, len(window.changed))
            window.counters.reserve(len(self._counters))
            window.counters.array[counters] = self._buckets.sums(counters, since(first_hour))
            changed = self._counters.rows(counters)
            window.rows.reserve(int(changed[-1]) + 1)
            window.rows.array[changed] = self._counters.totals(changed, window.counters.array)
            window.changed.clear()
        return window.rows.view(rows)

    def _summed(self, first_hour: int) -> _Window:
        count = len(self._counters)
        window = _Window(Table().column(np.float64, 0.0), Table().column(np.float64, 0.0))
        window.counters.reserve(count)
        window.counters.array[:count] = self._buckets.all_sums(count, since(first_hour))
        totals = self._counters.all_totals(0, window.counters.array)
        window.rows.reserve(len(totals))
        window.rows.array[: len(totals)] = totals
        return window
