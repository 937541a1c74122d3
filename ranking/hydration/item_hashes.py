"""Catalogue rows by the hash of their item id."""

import asyncio
from collections.abc import Iterable
from typing import Final

import numpy as np

from catalog.in_memory import InMemoryCatalog
from profiles.folding.tail import hash64
from ranking.query import Rows

_CHUNK: Final = 5_000
"""Ids that are hashed before other tasks may run. This takes about 5 ms."""


class ItemHashes:
    """Finds the rows of items of which only the `hash64` is known: those in a tail, and those on earlier pages.

    A row never changes its item, so the map only grows with the catalogue.
    """

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog
        self._rows: dict[int, int] = {}
        self._hashed = 0

    async def rows(self, hashes: Iterable[int]) -> Rows:
        """The rows of these hashes. Unknown hashes are ignored. Of two items with the same hash (one pair in 2^64), the
        newer row is returned."""
        while self._hashed < (size := self._catalog.size):
            start, self._hashed = self._hashed, min(size, self._hashed + _CHUNK)
            for row in range(start, self._hashed):
                self._rows[hash64(self._catalog.item_id(row))] = row
            if self._hashed < size:
                await asyncio.sleep(0)
        found = (self._rows.get(each) for each in hashes)
        return np.fromiter((row for row in found if row is not None), np.int64)
