"""The order in which items are listed."""

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from catalog.index.protocol import Mask, Rows

Hashes = NDArray[np.uint64]


class ItemOrder:
    """Items by the `hash64` of their ids: an order that every process has, whatever it has read and when.

    Rows are in the order of arrival, which differs between processes. The ids themselves are not sorted, because a
    sorted list of millions would have to be kept up to date for a call that is rare.

    Args:
        catalog: The catalogue.
    """

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def following(self, after: int | None, mask: Mask, count: int) -> tuple[Rows, Hashes]:
        """Find the next items of the order.

        Args:
            after: The hash of the last item before them. None: they are the first ones.
            mask: Which rows to find, [n].
            count: How many to find. Items of one hash are not parted, so there may be more: one pair of ids in 2^64
                has one hash.

        Returns:
            Their rows in order, and the hash of each. Fewer than `count`: no others follow.
        """
        hashes = self._catalog.id_hashes[: len(mask)]
        rows: Rows = np.flatnonzero(mask if after is None else mask & (hashes > np.uint64(after)))
        if len(rows) > count:
            last = np.partition(hashes[rows], count - 1)[count - 1]
            rows = rows[hashes[rows] <= last]
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        return rows, hashes[rows]
