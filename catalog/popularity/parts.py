"""Which parts each row's statistics are counted in: one for every partition of interactions."""

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Table


class Parts:
    """Numbers parts from 0 on, in the order in which they are first named. A row's parts are a chain.

    Both tables grow with it: `by_part` for every part that has a number, `by_row` for the row of each.
    """

    def __init__(self, by_part: Table, by_row: Table) -> None:
        self._by_part = by_part
        self._by_row = by_row
        self._numbers: dict[tuple[int, int], int] = {}
        self._owners = by_part.column(np.int64, 0)
        self._next = by_part.column(np.int64, -1)
        self._first = by_row.column(np.int64, -1)

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, row: int, partition: int) -> int:
        """The part that a partition gives a row."""
        part = self._numbers.get((row, partition))
        if part is None:
            part = len(self._numbers)
            self._by_part.reserve(part + 1)
            self._by_row.reserve(row + 1)
            self._numbers[row, partition] = part
            self._owners.array[part] = row
            self._next.array[part] = self._first.array[row]
            self._first.array[row] = part
        return part

    def rows(self, parts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows that these parts are of, none twice."""
        # Not np.unique: its first call imports numpy.ma, which holds the event loop for 45 ms in the midst of serving.
        owners = np.sort(self._owners.array[parts])
        return owners[np.diff(owners, prepend=-1) > 0]

    def totals(self, rows: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the parts of each of the rows; `values` by part."""
        sums = np.zeros(len(rows))
        places, parts = np.arange(len(rows)), self._first.array[rows]
        while len(places := places[parts >= 0]):
            parts = parts[parts >= 0]
            sums[places] += values[parts]
            parts = self._next.array[parts]
        return sums

    def all_totals(self, rows: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of all rows, [rows]."""
        count = len(self)
        sums = np.bincount(self._owners.array[:count], values[:count], minlength=rows)
        # Without a single weight, bincount counts in integers.
        return sums.astype(np.float64, copy=False)
