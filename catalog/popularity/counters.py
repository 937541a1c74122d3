"""Counters: one for each pair of an item and a partition of `interactions` that has events of the item."""

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Table


class Counters:
    """Numbers counters from 0, in the order in which they appear. The counters of one row form a linked list.

    Args:
        by_counter: Grows so that it has a place for every counter.
        by_row: Grows so that it has a place for the row of every counter.
    """

    def __init__(self, by_counter: Table, by_row: Table) -> None:
        self._by_counter = by_counter
        self._by_row = by_row
        self._numbers: dict[tuple[int, int], int] = {}
        self._owners = by_counter.column(np.int64, 0)
        self._next = by_counter.column(np.int64, -1)
        self._first = by_row.column(np.int64, -1)

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, row: int, partition: int) -> int:
        """The counter of a row and a partition. The first call for a pair creates it."""
        counter = self._numbers.get((row, partition))
        if counter is None:
            counter = len(self._numbers)
            self._by_counter.reserve(counter + 1)
            self._by_row.reserve(row + 1)
            self._numbers[row, partition] = counter
            self._owners.array[counter] = row
            self._next.array[counter] = self._first.array[row]
            self._first.array[row] = counter
        return counter

    def rows(self, counters: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of these counters, ascending, each once."""
        # Not np.unique: its first call imports numpy.ma, which blocks the event loop for 45 ms while serving.
        owners = np.sort(self._owners.array[counters])
        return owners[np.diff(owners, prepend=-1) > 0]

    def totals(self, rows: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums for each of the rows over its counters, [len(rows)]; `values` are indexed by counter."""
        sums = np.zeros(len(rows))
        positions, counters = np.arange(len(rows)), self._first.array[rows]
        while len(positions := positions[counters >= 0]):
            counters = counters[counters >= 0]
            sums[positions] += values[counters]
            counters = self._next.array[counters]
        return sums

    def all_totals(self, rows: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """`totals` of all rows, [rows]."""
        count = len(self)
        sums = np.bincount(self._owners.array[:count], values[:count], minlength=rows)
        # bincount returns integers if there are no weights at all.
        return sums.astype(np.float64, copy=False)
