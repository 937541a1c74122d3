"""Arrays that grow together, with one value or one vector per row."""

from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)

_FIRST_ROWS: Final = 16


class Table:
    """Columns of one capacity.

    Only the table grows, and all of its columns with it. Two columns of a table can therefore always be combined
    element by element.
    """

    def __init__(self) -> None:
        self._capacity = _FIRST_ROWS
        self._columns: list[Column[Any]] = []

    @property
    def capacity(self) -> int:
        """How many rows every column has room for."""
        return self._capacity

    def column(self, dtype: type[S], fill: Any, width: int | None = None) -> "Column[S]":
        """Adds a column.

        Args:
            dtype: The type of its values.
            fill: The value of a row that was never set.
            width: Numbers per row. None: one value per row.

        Returns:
            The column: [capacity], or [capacity, width].
        """
        column = Column(self, dtype, fill, width)
        self._columns.append(column)
        return column

    def reserve(self, rows: int) -> None:
        """Makes room for at least this many rows, in all columns or in none.

        The capacity at least doubles, so that the cost per row stays constant.

        Raises:
            MemoryError: There is no room. The table is unchanged.
        """
        if rows <= self._capacity:
            return
        capacity = max(rows, 2 * self._capacity)
        grown = [column.copy_of(capacity) for column in self._columns]
        for column, array in zip(self._columns, grown, strict=True):
            column.array = array
        self._capacity = capacity


class Column(Generic[S]):
    """One array of a table. `array` has the table's whole capacity, and is replaced when the table grows."""

    def __init__(self, table: Table, dtype: type[S], fill: Any, width: int | None) -> None:
        self._table = table
        self._fill = fill
        shape = (table.capacity,) if width is None else (table.capacity, width)
        self.array: NDArray[S] = _filled(shape, fill, np.dtype(dtype))

    def reserve(self, rows: int) -> None:
        """Makes room for at least this many rows in the whole table. Raises MemoryError."""
        self._table.reserve(rows)

    def view(self, rows: int) -> NDArray[S]:
        """A read-only view of the first rows. It shows later changes until the table grows. Raises MemoryError."""
        self.reserve(rows)
        part = self.array[:rows]
        part.flags.writeable = False
        return part

    def copy_of(self, capacity: int) -> NDArray[S]:
        """A copy of the array with the larger capacity. The column keeps its own array."""
        have = len(self.array)
        grown = _filled((capacity, *self.array.shape[1:]), self._fill, self.array.dtype)
        grown[:have] = self.array
        return grown


def _filled(shape: tuple[int, ...], fill: Any, dtype: "np.dtype[S]") -> NDArray[S]:
    # The kernel supplies zeroed pages on first touch, so unused rows cost no time.
    return np.full(shape, fill, dtype) if fill else np.zeros(shape, dtype)
