"""The catalogue in memory: its contents and every query on it. Nothing here knows Kafka."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from catalog.change_log import ChangeLog
from catalog.changes import Change, Listener, Listeners
from catalog.columns import Table
from catalog.filters.matching import Matching
from catalog.index.protocol import Floats, Mask, Rows
from catalog.index.vectors import Vectors
from catalog.items.item_state import NEVER, ItemState, Stamp, merge
from catalog.items.items import Item
from catalog.items.publication import UNKNOWN_MS
from catalog.popularity.popularity import Popularity
from catalog.popularity.stats import hour_of
from catalog.settings import CatalogSettings
from profiles.folding.tail import hash64
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import filter_pb2

# Items whose patches wait for a put, at most.
_WAITING = 10_000
_NEVER = np.iinfo(np.int64).max


def wall_clock_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class InMemoryCatalog:
    """Items, vectors and popularity by row.

    A row is the number of an item id for the life of the process. Ids get rows in order of appearance, and keep them
    when the item is removed. An id of which only a vector or statistics are known has a row too. Arrays and masks
    have the length that `size` had when they were made, so an older one may be shorter than a newer one.

    Everything here runs on the event loop's thread and blocks it for a few milliseconds at most. The exception is the
    first query with a new half-life or window: it takes 50 ms if 200,000 items had events recently.
    """

    def __init__(self, settings: CatalogSettings, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms
        self._rows: dict[str, int] = {}
        self._items: list[Item] = []
        self._by_row = Table()
        self._known = self._by_row.column(np.bool_, False)
        self._shown = self._by_row.column(np.bool_, False)
        self._expires = self._by_row.column(np.int64, _NEVER)
        self._published = self._by_row.column(np.int64, UNKNOWN_MS)
        self._id_hashes = self._by_row.column(np.uint64, 0)
        self._main_category = self._by_row.column(np.int64, -1)
        self._whole_ns = self._by_row.column(np.int64, NEVER.time_ns)
        self._whole_tie = self._by_row.column(np.uint64, NEVER.tie)
        self._patched: dict[int, Mapping[str, Stamp]] = {}
        # If there are too many, the first ones come with the record of the put that ingest writes.
        self._waiting: LRUCache[str, ItemState] = LRUCache(_WAITING)
        self._categories: dict[str, int] = {}
        self._count = 0
        self._change_log = ChangeLog()
        self._matching = Matching(self._items, self._rows, self._change_log, settings.cached_filters)
        self._popularity = Popularity(settings.popularity_seconds * 1000)
        self._vectors = Vectors(settings)
        self._listeners = Listeners()
        self._eligible: tuple[int, int, int, Mask] | None = None

    # Items

    @property
    def size(self) -> int:
        """How many rows there are, including those of removed items."""
        return len(self._items)

    @property
    def item_count(self) -> int:
        """How many items are known, including withdrawn and expired ones."""
        return self._count

    @property
    def generation(self) -> int:
        """A number that grows with every change of an item."""
        return self._change_log.generation

    def row(self, item_id: str) -> int | None:
        """The row of a known item. None: there is no such item, or it was removed."""
        row = self._rows.get(item_id)
        return row if row is not None and self._known.array[row] else None

    def item(self, row: int) -> Item:
        """The row's item. If the item is not known, only its id is set."""
        return self._items[row]

    def item_id(self, row: int) -> str:
        """The row's item id, also if the item was removed."""
        return self._items[row].item_id

    def eligible(self, now_ms: int) -> Mask:
        """Mask [size] of the items that may be recommended: known, not withdrawn, not expired. Read-only."""
        generation, cached = self._change_log.generation, self._eligible
        if cached is not None and cached[0] == generation and cached[1] <= now_ms < cached[2]:
            return cached[3]
        expires = self._expires.view(self.size)
        mask = self._shown.view(self.size) & (expires > now_ms)
        mask.flags.writeable = False
        until = int(expires.min(where=mask, initial=_NEVER))
        self._eligible = (generation, now_ms, until, mask)
        return mask

    @property
    def known(self) -> Mask:
        """Mask [size] of the known items, including withdrawn and expired ones. Read-only."""
        return self._known.view(self.size)

    def matching(self, wanted: filter_pb2.Filter | None, domain: str) -> Mask:
        """Mask [size] of the items that match a filter and a domain, eligible or not. An empty domain matches all.
        Read-only and cached."""
        return self._matching.mask(wanted, domain)

    def having(self, field: str, text: str) -> Rows:
        """The rows of the items that have the text in the field, such as `attributes.brand`, eligible or not. A new
        array, which is not cached."""
        return self._matching.rows(field, text)

    def next_expiry(self, rows: Rows) -> int | None:
        """The earliest expiry of the rows in Unix milliseconds, past or future. None: none of them expires."""
        earliest = int(self._expires.array[rows].min(initial=_NEVER))
        return earliest if earliest < _NEVER else None

    @property
    def published_ms(self) -> NDArray[np.int64]:
        """Publication times in Unix milliseconds, [size]. UNKNOWN_MS: unknown. Read-only."""
        return self._published.view(self.size)

    @property
    def id_hashes(self) -> NDArray[np.uint64]:
        """`hash64` of the item ids, [size]. They order items alike on every server, where rows are in the order of
        arrival. Read-only."""
        return self._id_hashes.view(self.size)

    def main_category(self, rows: Rows) -> NDArray[np.int64]:
        """Codes [m] of the rows' first categories. Equal names have equal codes. -1: the item has no category."""
        return self._main_category.array[rows]

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener(change, rows)` after items changed. Returns a function that removes the listener."""
        return self._listeners.add(listener)

    # Popularity

    def popularity(self, now_ms: int, half_life_s: float) -> NDArray[np.float32]:
        """Positive events of every row at that time, each weighted by 2^(-age / half-life), [size]. Read-only. The
        figures may be `popularity_seconds` old."""
        return self._popularity.decayed(now_ms, half_life_s, self.size)

    def most_popular(self, now_ms: int, half_life_s: float, mask: Mask, count: int) -> Rows:
        """The `count` most popular rows of the mask [n], or all of them if it has fewer. Best first, ties by the hash
        of the item id. Rows that never had a positive event come last."""
        return self._popularity.most(now_ms, half_life_s, mask, count, self.id_hashes)

    @property
    def positives(self) -> NDArray[np.int64]:
        """Number of all positive events, [size]. Read-only."""
        return self._popularity.positives(self.size)

    def positives_since(self, time_ms: int) -> NDArray[np.float64]:
        """Number of positive events since the start of the hour of a Unix time in milliseconds, [size].

        Whole numbers, read-only. Older events are counted by day, see `catalog.popularity.stats.counted`.
        """
        return self._popularity.counted(hour_of(time_ms), self.size)

    # Vectors

    @property
    def versions(self) -> tuple[int, ...]:
        """Model versions that have vectors, ascending."""
        return self._vectors.versions

    def vector(self, version: int, item_id: str) -> Floats | None:
        """A copy of the item's vector [d]. None: it has none. A removed item may still have one."""
        row, index = self._rows.get(item_id), self._vectors.index(version)
        if row is None or index is None or not index.has(row):
            return None
        vector: Floats = index.vectors(np.array([row]))[0]
        return vector

    def vectors(self, version: int, rows: Rows) -> Floats:
        """Vectors [m, d] of the rows. Rows without a vector get zeros. d is 0 if the version has no vectors."""
        return self._vectors.of(version, rows)

    def has_vector(self, version: int) -> Mask:
        """Mask [size] of the rows that have a vector. Read-only."""
        return self._vectors.has(version, self.size)

    def orphaned_vectors(self, version: int) -> frozenset[str]:
        """Ids that have a vector of the version, but no known item: it was removed, or is not read yet."""
        rows = np.flatnonzero(self.has_vector(version) & ~self.known)
        return frozenset(self._items[row].item_id for row in rows.tolist())

    def content_hash(self, version: int, item_id: str) -> bytes | None:
        """The hash of the content that the item's vector was computed from. None: it has no vector."""
        row = self._rows.get(item_id)
        return None if row is None else self._vectors.content_hash(version, row)

    def search(self, version: int, query: Floats, count: int, mask: Mask) -> tuple[Rows, Floats]:
        """Finds the rows with the largest dot products with a query.

        Args:
            version: The model version whose vectors are searched.
            query: The query vector, [d].
            count: How many rows to find.
            mask: Which rows may be found, [n]. Those without a vector are left out.

        Returns:
            Rows and scores, best first, ties by row. Fewer than `count` if fewer rows may be found.

        Raises:
            ValueError: The query is not finite, or not as wide as the vectors.
        """
        index = self._vectors.index(version)
        if index is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        return index.search(_checked(query, (index.width,)), count, mask)

    def search_many(
        self, version: int, queries: Floats, counts: Sequence[int], mask: Mask
    ) -> list[tuple[Rows, Floats]]:
        """Runs `search` for each of the queries [q, d] with its own count.

        This costs less than single searches, because one scan serves all queries. Scores may differ from those of a
        single search by float32 rounding.

        Raises:
            ValueError: As in `search`, or the numbers of queries and counts differ.
        """
        if len(counts) != len(queries):
            raise ValueError(f"there are {len(queries)} queries and {len(counts)} counts")
        index = self._vectors.index(version)
        if index is None:
            return [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)) for _ in counts]
        return index.search_many(_checked(queries, (len(counts), index.width)), counts, mask)

    # Changes

    def item_state(self, item_id: str) -> ItemState:
        """What is known of an item, and since when. Of an item that is not in the catalogue, these are its deletion and
        the patches that wait for its put."""
        if (waiting := self._waiting.get(item_id)) is not None:
            return waiting
        row = self._rows.get(item_id)
        if row is None:
            return ItemState(Item(item_id))
        whole = Stamp(int(self._whole_ns.array[row]), int(self._whole_tie.array[row]))
        listed = bool(self._known.array[row])
        return ItemState(self._items[row], whole, listed, self._patched.get(row, {}))

    def merge_item(self, state: ItemState) -> None:
        """Takes the newer fields of a state, which has no contents. Listeners are called at `notify`."""
        item_id = state.item.item_id
        known = self.item_state(item_id)
        merged = merge(known, state)
        if merged is known:
            return
        if merged.patched and not merged.listed:
            self._waiting[item_id] = merged
        else:
            self._waiting.pop(item_id, None)
        if not merged.listed and merged.whole == NEVER:
            return
        if merged.listed:
            self.put_item(merged.item)
        else:
            self.remove_item(item_id)
        row = self._row_of(item_id)
        self._whole_ns.array[row], self._whole_tie.array[row] = merged.whole
        if merged.patched and merged.listed:
            self._patched[row] = merged.patched
        else:
            self._patched.pop(row, None)

    def put_item(self, item: Item) -> None:
        """Adds or replaces an item. Listeners are called at `notify`."""
        row = self._row_of(item.item_id)
        self._count += not self._known.array[row]
        self._known.array[row] = True
        self._shown.array[row] = not item.withdrawn
        expires = _NEVER if item.expires_at_ms is None else item.expires_at_ms
        self._expires.array[row] = expires
        published = item.published_at_ms
        self._published.array[row] = UNKNOWN_MS if published is None else published
        self._main_category.array[row] = self._category(item)
        self._replace(row, item)
        gone = item.withdrawn or expires <= self._now_ms()
        self._listeners.note(Change.WITHDRAWN if gone else Change.CHANGED, row)

    def remove_item(self, item_id: str) -> None:
        """Removes an item. Its vector and statistics stay, because they have records of their own. An unknown id is
        ignored."""
        row = self.row(item_id)
        if row is None:
            return
        self._count -= 1
        for column in (self._known, self._shown):
            column.array[row] = False
        self._expires.array[row] = _NEVER
        self._published.array[row] = UNKNOWN_MS
        self._main_category.array[row] = -1
        self._replace(row, Item(item_id))
        self._listeners.note(Change.REMOVED, row)

    def put_vector(self, version: int, item_id: str, vector: Floats, content_hash: bytes = b"") -> None:
        """Sets an item's vector [d] under a model version. Raises BadRecord if it is not finite, or not as wide as
        the other vectors of the version."""
        self._vectors.put(version, self._row_of(item_id), vector, content_hash)

    def prefer_versions(self, versions: Collection[int]) -> None:
        """Keeps the vectors of these model versions before those of others. They are the served ones."""
        self._vectors.prefer(versions)

    def remove_vector(self, version: int, item_id: str) -> None:
        """Removes an item's vector. An unknown id is ignored."""
        row = self._rows.get(item_id)
        if row is not None:
            self._vectors.drop(version, row)

    def put_stats(self, item_id: str, stats: catalog_pb2.ItemStats, partition: int = 0) -> None:
        """Sets what one partition of `interactions` contributes to an item's statistics. They are the sum over all
        partitions."""
        self._popularity.put(self._row_of(item_id), stats, partition)

    def notify(self) -> None:
        """Calls the listeners with the changes since the last call."""
        self._listeners.notify()

    def _row_of(self, item_id: str) -> int:
        row = self._rows.get(item_id)
        if row is None:
            row = len(self._items)
            self._by_row.reserve(row + 1)
            self._id_hashes.array[row] = hash64(item_id)
            self._rows[item_id] = row
            self._items.append(Item(item_id))
            self._change_log.note(row)
        return row

    def _replace(self, row: int, item: Item) -> None:
        self._matching.replace(row, self._items[row], item)
        self._items[row] = item
        self._change_log.note(row)

    def _category(self, item: Item) -> int:
        if not item.categories:
            return -1
        return self._categories.setdefault(item.categories[0], len(self._categories))


def _checked(queries: Floats, shape: tuple[int, ...]) -> Floats:
    if queries.shape != shape:
        raise ValueError(f"the query has shape {queries.shape}, the vectors are {shape[-1]} wide")
    if not np.isfinite(queries).all():
        raise ValueError("the query is not finite")
    return queries.astype(np.float32, copy=False)
