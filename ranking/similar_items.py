"""Items like an item."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from inference.version_routing import Pointer
from ranking.errors import ItemUnknown
from ranking.filters.filter import Filters
from ranking.popularity import Popularity
from ranking.query import Mask, Query, Rows
from ranking.request import ListRequest
from ranking.settings import SurfaceSettings
from ranking.slate.ranked import SimilarList
from recstream.v1 import slate_pb2


class SimilarItems:
    """Finds the items nearest to an item by the model's vectors. Knows nothing of any user."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        popularity: Popularity,
        filters: Filters,
        pointer: Callable[[], Pointer],
    ) -> None:
        self._catalog = catalog
        self._popularity = popularity
        self._filters = filters
        self._pointer = pointer

    def find(self, item_id: str, request: ListRequest, settings: SurfaceSettings, now_ms: int) -> SimilarList:
        """At most `request.count` items of those that its filter, domain and exclusions leave. An item
        without a vector has the popular items of its main category instead, then the popular ones of all.

        Raises ItemUnknown if the catalogue has no such item; one that cannot be had now is as good as any
        here.
        """
        row = self._catalog.row(item_id)
        if row is None:
            raise ItemUnknown(item_id)
        left_out = [r for each in request.excluded if (r := self._catalog.row(each)) is not None]
        taken = np.array([row, *left_out], np.int64)
        query = Query(request, settings, now_ms, None, 0, False, None, None, (), (), taken)
        allowed = self._filters.mask(query, self._catalog.size)
        manifest = self._pointer().default
        vector = self._catalog.vector(manifest.version, item_id) if manifest is not None else None
        if manifest is None or vector is None:
            rows, scores = self._by_category(row, request.count, allowed, now_ms)
            return SimilarList(self._items(rows, scores, "trending"), 0)
        rows, scores = self._catalog.search(manifest.version, vector, request.count, allowed)
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
