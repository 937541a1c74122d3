"""Items that are similar to an item."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from inference.version_routing import VersionRouting
from ranking.popularity import Popularity
from ranking.query import HydratedQuery, ListRequest, Mask, Rows
from ranking.settings import SurfaceSettings
from ranking.stages import Filter
from recstream.v1 import filter_pb2, slate_pb2


class ItemUnknown(Exception):
    """The catalogue does not know the item for which similar ones are requested."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"the catalogue has no item {item_id!r}: put it first, or request another one")
        self.item_id = item_id


@dataclass(frozen=True, slots=True)
class SimilarList:
    """Similar items, nearest first. `model_version` is 0 if no model was involved."""

    items: tuple[slate_pb2.RankedItem, ...]
    model_version: int


class SimilarItems:
    """Finds the items nearest to an item by the model's vectors. It uses no profile."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        popularity: Popularity,
        filters: Filter,
        versions: Callable[[], VersionRouting],
        settings: SurfaceSettings,
    ) -> None:
        self._catalog = catalog
        self._popularity = popularity
        self._filters = filters
        self._versions = versions
        self._settings = settings

    def find(
        self,
        item_id: str,
        *,
        count: int,
        now_ms: int,
        filter: filter_pb2.Filter | None = None,
        domain: str = "",
        excluded: frozenset[str] = frozenset(),
    ) -> SimilarList:
        """Finds the items nearest to an item. If it has no vector, finds popular items, those of its main category
        first.

        Args:
            item_id: The item. It may be withdrawn or expired.
            count: Number of items. Fewer are returned only if fewer are allowed.
            now_ms: The moment in Unix milliseconds.
            filter, domain, excluded: See `ListRequest`.

        Raises:
            ItemUnknown: The catalogue has no such item.
        """
        row = self._catalog.row(item_id)
        if row is None:
            raise ItemUnknown(item_id)
        left_out = [r for each in excluded if (r := self._catalog.row(each)) is not None]
        query = HydratedQuery(
            request=ListRequest(user_id="", count=count, domain=domain, filter=filter, excluded=excluded),
            now_ms=now_ms,
            settings=self._settings,
            consumed=np.array([row, *left_out], np.int64),
        )
        [allowed] = self._filters.masks([query], self._catalog.size)
        manifest = self._versions().default
        vector = self._catalog.vector(manifest.version, item_id) if manifest is not None else None
        if manifest is None or vector is None:
            rows, scores = self._by_category(row, count, allowed, now_ms)
            return SimilarList(self._items(rows, scores, "trending"), 0)
        rows, scores = self._catalog.search(manifest.version, vector, count, allowed)
        return SimilarList(self._items(rows, scores, "similar"), manifest.version)

    def _by_category(
        self, row: int, count: int, allowed: Mask, now_ms: int
    ) -> tuple[Rows, NDArray[np.floating]]:
        rows = np.flatnonzero(allowed)
        scores = self._popularity.scores(now_ms, rows)
        codes = self._catalog.main_category(np.append(rows, row))
        other = codes[:-1] != codes[-1] if codes[-1] >= 0 else np.zeros(len(rows), np.bool_)
        best = np.lexsort((-scores, other))[:count]
        return rows[best], scores[best]

    def _items(
        self, rows: Rows, scores: NDArray[np.floating], source: str
    ) -> tuple[slate_pb2.RankedItem, ...]:
        return tuple(
            slate_pb2.RankedItem(item_id=self._catalog.item_id(row), score=score, source=source)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        )
