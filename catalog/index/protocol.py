"""The protocol of a vector index."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Index(Protocol):
    """Vectors by row, searched by dot product."""

    def search(self, query: Floats, count: int, mask: Mask) -> tuple[Rows, Floats]:
        """Finds the rows with the largest dot products with the query.

        Args:
            query: The query vector, [d].
            count: How many rows to find.
            mask: Which rows may be found, [n]. Rows at or after n may not, nor those without a vector.

        Returns:
            Rows and scores, best first, ties by row. Fewer than `count` if fewer rows may be found.
        """
