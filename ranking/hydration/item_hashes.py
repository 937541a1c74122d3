"""Catalogue rows by the hash of their item id."""

import asyncio
from collections.abc import Iterable
from typing import Final

import numpy as np

from catalog.in_memory import InMemoryCatalog
from profiles.folding.tail import hash64
from ranking.query import Rows

_AT_ONCE: Final = 5_000
"""Ids hashed before others get their turn, about 5 ms."""


class ItemHashes:
    """Finds the rows of items that are known by `hash64` alone: those in a tail, those on earlier pages.

    Rows never change their item, so the map only ever grows, by what the catalogue has got since.
    """

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog
        self._rows: dict[int, int] = {}
        self._hashed = 0

    async def rows(self, hashes: Iterable[int]) -> Rows:
        """The rows of these hashes; unknown ones have none. Two items of one hash (one pair in 2^64)
        count as the one that came last."""
        while self._hashed < (size := self._catalog.size):
            start, self._hashed = self._hashed, min(size, self._hashed + _AT_ONCE)
            for row in range(start, self._hashed):
                self._rows[hash64(self._catalog.item_id(row))] = row
            if self._hashed < size:
                await asyncio.sleep(0)
        found = (self._rows.get(each) for each in hashes)
        return np.fromiter((row for row in found if row is not None), np.int64)
