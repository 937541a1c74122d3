"""Catalogue rows by the hash of their item id."""

import asyncio
from collections.abc import Iterable
from typing import Final

import numpy as np

from catalog.in_memory import InMemoryCatalog
from profiles.folding.tail import hash64
from ranking.query import Rows

_CHUNK: Final = 5_000
"""Ids that are hashed before other tasks run, about 5 ms."""


class ItemHashes:
    """Finds the rows of items that are known by `hash64` alone: those in a tail, and those on earlier pages.

    A row never changes its item, so the map only grows, by the rows that the catalogue has added.
    """

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog
        self._rows: dict[int, int] = {}
        self._hashed = 0

    async def rows(self, hashes: Iterable[int]) -> Rows:
        """The rows of these hashes; unknown ones have none. Two items of one hash (one pair in 2^64)
        count as the one that came last."""
        while self._hashed < (size := self._catalog.size):
            start, self._hashed = self._hashed, min(size, self._hashed + _CHUNK)
            for row in range(start, self._hashed):
                self._rows[hash64(self._catalog.item_id(row))] = row
            if self._hashed < size:
                await asyncio.sleep(0)
        found = (self._rows.get(each) for each in hashes)
        return np.fromiter((row for row in found if row is not None), np.int64)
