"""Arrays that grow: one value, or one vector, a row."""

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)


class Column(Generic[S]):
    """An array with a fill value where nothing was set. `array` is the whole capacity and is replaced when it
    grows; `view` is what is there, read-only."""

    def __init__(self, dtype: type[S], fill: Any, width: int | None = None) -> None:
        self._fill = fill
        self.array: NDArray[S] = np.full(16 if width is None else (16, width), fill, dtype=dtype)

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows; doubling keeps the price of a row constant."""
        have = len(self.array)
        if rows > have:
            grown = np.full((max(rows, 2 * have), *self.array.shape[1:]), self._fill, dtype=self.array.dtype)
            grown[:have] = self.array
            self.array = grown

    def view(self, rows: int) -> NDArray[S]:
        """The first rows, read-only and live: later changes show, growth does not."""
        self.reserve(rows)
        part = self.array[:rows]
        part.flags.writeable = False
        return part
