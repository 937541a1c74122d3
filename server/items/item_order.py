"""The order in which items are listed."""

import asyncio
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from catalog.index.protocol import Mask, Rows
from profiles.folding.tail import hash64

Hashes = NDArray[np.uint64]
_CHUNK: Final = 5_000
"""Ids that are hashed before other tasks may run. This takes about 5 ms."""


class ItemOrder:
    """Items by the `hash64` of their ids: an order that every process has, whatever it has read and when.

    Rows are in the order of arrival, which differs between processes. The ids themselves are not sorted, because a
    sorted list of millions would have to be kept up to date for a call that is rare.

    Args:
        catalog: The catalogue.
    """

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._hashed = 0

    async def follow(self) -> None:
        """Hash the ids of rows that are new. A row never changes its item."""
        while self._hashed < (size := self._catalog.size):
            if len(self._hashes) < size:
                self._hashes = np.concatenate([self._hashes, np.zeros(size, np.uint64)])
            end = min(size, self._hashed + _CHUNK)
            some = (hash64(self._catalog.item_id(row)) for row in range(self._hashed, end))
            self._hashes[self._hashed : end] = np.fromiter(some, np.uint64, end - self._hashed)
            self._hashed = end
            if end < size:
                await asyncio.sleep(0)

    def following(self, after: int | None, mask: Mask, count: int) -> tuple[Rows, Hashes]:
        """Find the next items of the order. Call `follow` before, without waiting for anything in between.

        Args:
            after: The hash of the last item before them. None: they are the first ones.
            mask: Which rows to find, [n].
            count: How many to find. Items of one hash are not parted, so there may be more: one pair of ids in 2^64
                has one hash.

        Returns:
            Their rows in order, and the hash of each. Fewer than `count`: no others follow.
        """
        hashes = self._hashes[: len(mask)]
        rows: Rows = np.flatnonzero(mask if after is None else mask & (hashes > np.uint64(after)))
        if len(rows) > count:
            last = np.partition(hashes[rows], count - 1)[count - 1]
            rows = rows[hashes[rows] <= last]
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        return rows, hashes[rows]
