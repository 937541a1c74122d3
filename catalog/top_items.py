"""The top items of the catalogue: the most popular, the trending, and the newest. No user and no model is involved."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from catalog.index.protocol import Mask, Rows
from catalog.items.publication import UNKNOWN_MS
from catalog.popularity.popularity import best
from recstream.v1 import filter_pb2

_COUNT_LIMIT: Final = 2**31 - 1


class ItemOrder(Enum):
    """An order of all items."""

    POPULAR = "popular"
    """Most positive events first."""
    TRENDING = "trending"
    """By positive events, of which recent ones count most."""
    NEWEST = "newest"
    """Latest published first."""


@dataclass(frozen=True, slots=True)
class TopItemsQuery:
    """A query for top items.

    Attributes:
        order: The order.
        count: How many items.
        window_ms: For POPULAR, counts events of the last so many milliseconds, rounded to hours and days. None: all.
        domain: Only items of this domain. Empty: all.
        filter: Only items that match. None: all.
        excluded: Item ids to leave out. Unknown ids are ignored.
    """

    order: ItemOrder
    count: int
    window_ms: int | None = None
    domain: str = ""
    filter: filter_pb2.Filter | None = None
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TopItem:
    """An item with the figure that orders it: a number of events, a trend, or a Unix time in milliseconds."""

    item_id: str
    figure: float


class TopItems:
    """Finds top items by the catalogue's arrays."""

    def __init__(self, catalog: InMemoryCatalog, trending_half_life_s: float) -> None:
        """Args:
        catalog: The catalogue.
        trending_half_life_s: Age in seconds at which an event counts half for TRENDING.
        """
        self._catalog = catalog
        self._half_life_s = trending_half_life_s

    def find(self, query: TopItemsQuery, now_ms: int) -> list[TopItem]:
        """Finds the items that match and are eligible at a moment, best first. Fewer than `count` if there are fewer.

        Items without any event are the last popular and trending ones. Items whose publication is unknown or in the
        future are not among the newest. Items of the same figure are in the order of the hashes of their ids, which is
        the same on every server.

        Args:
            query: The query.
            now_ms: The moment in Unix milliseconds.
        """
        allowed = self._allowed(query, now_ms)
        if query.order is ItemOrder.NEWEST:
            rows, figures = self._newest(allowed, query.count, now_ms)
        elif query.order is ItemOrder.TRENDING:
            rows = self._catalog.most_popular(now_ms, self._half_life_s, allowed, query.count)
            figures = self._catalog.popularity(now_ms, self._half_life_s)[rows].astype(np.float64)
        else:
            since_ms = None if query.window_ms is None else now_ms - query.window_ms
            rows, figures = self._popular(allowed, query.count, since_ms)
        return [
            TopItem(self._catalog.item_id(row), figure)
            for row, figure in zip(rows.tolist(), figures.tolist(), strict=True)
        ]

    def _allowed(self, query: TopItemsQuery, now_ms: int) -> Mask:
        allowed = self._catalog.eligible(now_ms) & self._catalog.matching(query.filter, query.domain)
        for item_id in query.excluded:
            if (row := self._catalog.row(item_id)) is not None:
                allowed[row] = False
        return allowed

    def _popular(self, allowed: Mask, count: int, since_ms: int | None) -> tuple[Rows, NDArray[np.float64]]:
        rows = np.flatnonzero(allowed)
        positives, ties = self._catalog.positives[rows], self._catalog.id_hashes[rows]
        if since_ms is None:
            chosen = best(positives, np.arange(len(rows)), count, ties)
            return rows[chosen], positives[chosen].astype(np.float64)
        counted = self._catalog.positives_since(since_ms)[rows]
        # One key: the count in the window, then the count of all events.
        keys = counted.clip(0, _COUNT_LIMIT).astype(np.int64) << 32 | positives.clip(0, _COUNT_LIMIT)
        chosen = best(keys, np.arange(len(rows)), count, ties)
        return rows[chosen], counted[chosen]

    def _newest(self, allowed: Mask, count: int, now_ms: int) -> tuple[Rows, NDArray[np.float64]]:
        published = self._catalog.published_ms
        rows = np.flatnonzero(allowed & (published != UNKNOWN_MS) & (published <= now_ms))
        rows = best(published[rows], rows, count, self._catalog.id_hashes[rows])
        return rows, published[rows].astype(np.float64)
