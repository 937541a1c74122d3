"""What an index of vectors is."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Index(Protocol):
    """Vectors by row, searched by dot product."""

    def search(self, query: Floats, count: int, mask: Mask) -> tuple[Rows, Floats]:
        """The `count` rows of the largest dot product with the query [d] among those that the mask [n] names
        and that have a vector; all of them where there are fewer. Best first, equal ones by row.

        Rows past the mask's end do not match.
        """
