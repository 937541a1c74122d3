"""The real catalogue, filled by tests instead of from its topics."""

from collections.abc import Callable, Mapping

import numpy as np

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import from_proto
from catalog.popularity.stats import hour_of
from catalog.settings import CatalogSettings
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import item_pb2

VERSION = 5


class FilledCatalog(InMemoryCatalog):
    """A catalogue for tests. `now_ms` is its clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__(CatalogSettings(popularity_seconds=0), now_ms)
        self._clock_ms = now_ms

    def put(self, item: item_pb2.Item, vector: np.ndarray | None = None, version: int = VERSION) -> None:
        """Adds or replaces an item."""
        self.put_item(from_proto(item))
        if vector is not None:
            self.put_vector(version, item.item_id, vector)

    def popular(self, counts: Mapping[str, int], *, hours_ago: int = 0) -> None:
        """Sets each item's statistics to this number of positive events, all of them `hours_ago`."""
        hour = hour_of(self._clock_ms()) - hours_ago
        for item_id, count in counts.items():
            bucket = catalog_pb2.HourBucket(hour=hour, count=count)
            self.put_stats(item_id, catalog_pb2.ItemStats(positives=count, hours=[bucket]))
