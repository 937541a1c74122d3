"""Structures that grow: after puts, replacements, drops and merges in any order, past every capacity, they answer like
a plain dictionary."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from catalog.columns import Table
from catalog.in_memory import InMemoryCatalog
from catalog.index import live
from catalog.index.hnsw import Hnsw
from catalog.index.live import LiveIndex, Merge
from catalog.items.items import Item
from catalog.items.publication import UNKNOWN_MS
from catalog.popularity.popularity import EVER, Popularity
from catalog.popularity.stats import HOUR_MS, add, decayed, merged
from catalog.settings import CatalogSettings
from recstream.storage.v1 import catalog_pb2
from recstream.v1.filter_pb2 import Filter, FilterList, RangeFilter, TextFilter

WIDTH = 8
NOW_HOUR = 472_222
Vectors = NDArray[np.float32]

seeds = st.integers(0, 2**32 - 1)
# Includes rows around the first capacities, where one array could grow before another.
rows = st.integers(0, 140) | st.sampled_from([c + d for c in (16, 32, 64, 128, 256, 512) for d in (-1, 0, 1)])


def some_vector(seed: int) -> Vectors:
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


@pytest.fixture
def cheap_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes searches use the graph, although a scan of these few rows would cost less."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-6)


def test_columns_of_a_table_have_one_capacity_whichever_of_them_grows() -> None:
    table = Table()
    numbers, flags = table.column(np.int64, -1), table.column(np.bool_, False)
    numbers.array[3], flags.array[3] = 7, True
    for rows, grow in ((17, numbers.view), (40, flags.view), (41, numbers.reserve), (400, table.reserve)):
        grow(rows)
        vectors = table.column(np.float32, 0.0, WIDTH)  # added later, with the same length
        assert rows <= table.capacity
        assert len(numbers.array) == len(flags.array) == len(vectors.array) == table.capacity
    assert (numbers.array[3], flags.array[3]) == (7, True)
    assert (numbers.array >= 0).sum() == flags.array.sum() == 1


def test_a_table_that_cannot_grow_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    numbers, flags = table.column(np.int64, -1), table.column(np.bool_, False)

    def no_room(capacity: int) -> NDArray[np.bool_]:
        raise MemoryError(capacity)

    monkeypatch.setattr(flags, "copy_of", no_room)
    with pytest.raises(MemoryError):
        table.reserve(17)
    assert len(numbers.array) == len(flags.array) == table.capacity == 16


def test_an_index_still_grows_after_a_query_for_rows_without_vectors() -> None:
    """Such a query once made one array longer than the others."""
    index = LiveIndex(WIDTH, CatalogSettings(exact_below=10, merge_share=0.01))
    for row in range(16):
        index.put(row, some_vector(row))
    index.present(20)
    first = index.due()
    assert first is not None
    index.install(first, index.make(first, lambda: True))
    index.present(70)
    for row in range(16, 36):
        index.put(row, some_vector(row))
    due = index.due()
    assert due is not None and due.rows.tolist() == list(range(16, 36))


class IndexMachine(RuleBasedStateMachine):
    """Compares a live index with a dictionary of its vectors and a scan of them."""

    @initialize(
        at_first=st.sampled_from([0, 15, 31, 33, 130]),
        exact_below=st.sampled_from([4, 30, 10_000]),
        merge_share=st.sampled_from([0.02, 0.3]),
    )
    def begin(self, at_first: int, exact_below: int, merge_share: float) -> None:
        # With this many candidates the graph finds what a scan finds, as far as its nodes are connected.
        self.index = LiveIndex(
            WIDTH, CatalogSettings(exact_below=exact_below, merge_share=merge_share, expansion_search=4096)
        )
        self.held: dict[int, Vectors] = {}
        self.merge: Merge | None = None
        self.made: Hnsw | None = None
        self.hits = self.wanted = 0
        for row in range(at_first):
            self._put(row, row)

    def _put(self, row: int, seed: int) -> None:
        self.held[row] = some_vector(seed)
        self.index.put(row, self.held[row])

    @rule(row=rows, seed=seeds)
    def put(self, row: int, seed: int) -> None:
        self._put(row, seed)

    @rule(beyond=st.integers(-2, 20), seed=seeds)
    def fill_past_the_capacity(self, beyond: int, seed: int) -> None:
        until = min(self.index._rows.capacity + beyond, 700)
        for row in range(max(self.held, default=-1) + 1, until):
            self._put(row, seed + row)

    def _drop(self, row: int) -> None:
        self.held.pop(row, None)
        self.index.drop(row)

    @rule(row=rows)
    def drop(self, row: int) -> None:
        self._drop(row)

    @rule(first=rows, count=st.integers(1, 100))
    def drop_many(self, first: int, count: int) -> None:
        for row in range(first, first + count):
            self._drop(row)

    @rule(size=st.integers(0, 900))
    def look(self, size: int) -> None:
        """Queries more rows than have vectors."""
        expected = np.isin(np.arange(size), list(self.held))
        np.testing.assert_array_equal(self.index.present(size), expected)
        some = np.arange(0, size, 7)
        vectors = self.index.vectors(some)
        assert vectors.shape == (len(some), WIDTH)
        for row, vector in zip(some.tolist(), vectors, strict=True):
            np.testing.assert_array_equal(vector, self.held.get(row, np.zeros(WIDTH, np.float32)))

    @precondition(lambda self: self.merge is None)
    @rule()
    def begin_merge(self) -> None:
        self.merge = self.index.due()
        if self.merge is not None:
            assert self.index.due() is None, "one merge at a time"

    @precondition(lambda self: self.merge is not None and self.made is None)
    @rule()
    def make(self) -> None:
        assert self.merge is not None
        self.made = self.index.make(self.merge, lambda: True)

    @precondition(lambda self: self.made is not None)
    @rule()
    def install(self) -> None:
        assert self.merge is not None and self.made is not None
        self.index.install(self.merge, self.made)
        self.merge = self.made = None

    @precondition(lambda self: self.merge is None)
    @rule(changes=st.lists(st.tuples(rows, seeds), max_size=8), dropped=st.lists(rows, max_size=3))
    def merge_amid_changes(self, changes: list[tuple[int, int]], dropped: list[int]) -> None:
        """A vector that changes before the snapshot is made may be in it half updated. A later change is not in it."""
        merge = self.index.due()
        if merge is None:
            return
        for row, seed in changes[::2]:
            self._put(row, seed)
        made = self.index.make(merge, lambda: True)
        for row, seed in changes[1::2]:
            self._put(row, seed)
        for row in dropped:
            self._drop(row)
        self.index.install(merge, made)

    @precondition(lambda self: self.merge is not None)
    @rule()
    def abandon(self) -> None:
        self.index.abandon()
        self.merge = self.made = None

    @rule(
        seed=seeds,
        count=st.integers(-1, 60),
        size=st.integers(0, 900),
        share=st.sampled_from([0.05, 0.5, 1.0]),
    )
    def search(self, seed: int, count: int, size: int, share: float) -> None:
        random = np.random.default_rng(seed)
        query, mask = random.standard_normal(WIDTH).astype(np.float32), random.random(size) < share
        allowed = [row for row in self.held if row < size and mask[row]]
        best = sorted(allowed, key=lambda row: (-float(self.held[row] @ query), row))[: max(0, count)]
        many = self.index.search_many(np.stack([query, -query]), [count, 1], mask)
        for found, scores in (self.index.search(query, count, mask), many[0]):
            # Whatever the graph finds, the list is full, has only allowed rows, and is ordered by exact scores.
            assert len(found) == len(set(found.tolist())) == len(best)
            assert set(found.tolist()) <= set(allowed)
            np.testing.assert_allclose(
                scores, [self.held[row] @ query for row in found.tolist()], rtol=1e-4, atol=1e-5
            )
            assert (np.diff(scores) <= 0).all()
            self.hits += len(set(found.tolist()) & set(best))
            self.wanted += len(best)
            if self.index._graph is None:
                assert found.tolist() == best, "without a graph the search is a scan"

    @invariant()
    def sizes_agree(self) -> None:
        if not hasattr(self, "index"):
            return
        assert self.index.count == len(self.held)
        assert 0 <= self.index.in_graph <= self.index.count
        assert self.index.in_graph == (self.index._node.array >= 0).sum()

    def teardown(self) -> None:
        if getattr(self, "wanted", 0) >= 100:  # with fewer, a single miss says little
            assert self.hits >= 0.95 * self.wanted, f"recall {self.hits / self.wanted:.3f}"


@pytest.mark.usefixtures("cheap_graph")
def test_an_index_that_grows_shrinks_and_merges_answers_like_a_dictionary() -> None:
    run_state_machine_as_test(
        IndexMachine,
        settings=settings(stateful_step_count=40, suppress_health_check=list(HealthCheck)),
    )


class PopularityMachine(RuleBasedStateMachine):
    """Compares statistics in flat arrays with a dictionary of their records."""

    def __init__(self) -> None:
        super().__init__()
        self.popularity = Popularity(reuse_ms=0)
        self.held: dict[tuple[int, int], catalog_pb2.ItemStats] = {}
        self.hour = NOW_HOUR

    def _put(self, row: int, partition: int, hours: list[int]) -> None:
        stats = catalog_pb2.ItemStats()
        for hour in hours:
            stats = add(stats, {self.hour + hour: 1 + hour % 3})
        self.held[row, partition] = stats
        self.popularity.put(row, stats, partition)

    @rule(row=rows, partition=st.integers(0, 2), hours=st.lists(st.integers(-3000, 1), max_size=90))
    def put(self, row: int, partition: int, hours: list[int]) -> None:
        """Replaces a partition's counts of a row. They may be fewer than before, or more than its span has room for."""
        self._put(row, partition, hours)

    @rule(count=st.integers(1, 60), hours=st.lists(st.integers(-100, 0), max_size=3))
    def fill(self, count: int, hours: list[int]) -> None:
        first = max((row for row, _ in self.held), default=-1) + 1
        for row in range(first, min(first + count, 600)):
            self._put(row, 0, hours)

    @rule(hours=st.integers(0, 50))
    def pass_time(self, hours: int) -> None:
        self.hour += hours

    @rule(
        half_life_hours=st.sampled_from([24, 14 * 24]), beyond=st.integers(-20, 300), count=st.integers(1, 30)
    )
    def read(self, half_life_hours: int, beyond: int, count: int) -> None:
        size = max(0, max((row for row, _ in self.held), default=-1) + 1 + beyond)
        now = self.hour * HOUR_MS
        expected, positives = np.zeros(size), np.zeros(size, np.int64)
        for (row, _), stats in self.held.items():
            if row < size:
                expected[row] += decayed(stats, now, half_life_hours * 3600.0)
                positives[row] += stats.positives
        found = self.popularity.decayed(now, half_life_hours * 3600.0, size)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(self.popularity.positives(size), positives)
        mask = np.arange(size) % 3 > 0
        most = self.popularity.most(
            now, half_life_hours * 3600.0, mask, count, np.arange(10_000, dtype=np.uint64)
        )
        scores = found + EVER * positives
        assert len(most) == len(set(most.tolist())) == min(count, int(mask.sum())) and mask[most].all()
        np.testing.assert_array_equal(scores[most], np.sort(scores[mask])[::-1][:count])


def test_statistics_that_grow_and_shrink_equal_their_records() -> None:
    run_state_machine_as_test(
        PopularityMachine,
        settings=settings(stateful_step_count=30, suppress_health_check=list(HealthCheck)),
    )


class CatalogueMachine(RuleBasedStateMachine):
    """Compares the catalogue with dictionaries of its items, vectors and statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW_HOUR * HOUR_MS
        self.catalogue = InMemoryCatalog(
            CatalogSettings(exact_below=20, cached_filters=3, popularity_seconds=0), lambda: self.now
        )
        self.items: dict[str, Item] = {}
        self.vectors: dict[str, Vectors] = {}
        self.positives: dict[str, int] = {}
        self.ids: list[str] = []

    def _note(self, item_id: str) -> str:
        if item_id not in self.ids:
            self.ids.append(item_id)
        return item_id

    def _put(self, number: int, kind: int) -> None:
        item = Item(
            self._note(f"i{number}"),
            categories=(f"c{kind % 3}",) if kind % 4 else (),
            texts={"colour": (f"x{number if kind % 5 == 0 else kind % 2}", "all")},
            numbers={"price": (-1.0, float(kind))} if kind % 3 else {},
            withdrawn=kind % 7 == 1,
            expires_at_ms=self.now + 1000 * (kind % 5 - 2) if kind % 6 == 0 else None,
            published_at_ms=self.now - kind,
        )
        self.items[item.item_id] = item
        self.catalogue.put_item(item)

    @rule(number=st.integers(0, 300), kind=st.integers(0, 50))
    def put_item(self, number: int, kind: int) -> None:
        self._put(number, kind)

    @rule(count=st.integers(1, 150), kind=st.integers(0, 50), with_vectors=st.booleans())
    def fill(self, count: int, kind: int, with_vectors: bool) -> None:
        first = 1000 + len(self.ids)
        for number in range(first, first + min(count, 900 - len(self.ids))):
            self._put(number, kind + number)
            if with_vectors:
                self._put_vector(f"i{number}", number)

    @rule(number=st.integers(0, 300))
    def remove_item(self, number: int) -> None:
        self.items.pop(f"i{number}", None)
        self.catalogue.remove_item(f"i{number}")

    def _put_vector(self, item_id: str, seed: int) -> None:
        self.vectors[self._note(item_id)] = some_vector(seed)
        self.catalogue.put_vector(1, item_id, self.vectors[item_id])

    @rule(number=st.integers(0, 400), seed=seeds)
    def put_vector(self, number: int, seed: int) -> None:
        """The vector may arrive before its item."""
        self._put_vector(f"i{number}", seed)

    @rule(number=st.integers(0, 400))
    def remove_vector(self, number: int) -> None:
        self.vectors.pop(f"i{number}", None)
        self.catalogue.remove_vector(1, f"i{number}")

    @rule(number=st.integers(0, 400), count=st.integers(0, 9))
    def put_stats(self, number: int, count: int) -> None:
        self.positives[self._note(f"i{number}")] = count
        self.catalogue.put_stats(f"i{number}", merged([add(catalog_pb2.ItemStats(), {NOW_HOUR: count})]))

    @rule(seconds=st.integers(0, 3))
    def pass_time(self, seconds: int) -> None:
        self.now += 1000 * seconds

    @rule()
    def merge(self) -> None:
        for index in self.catalogue._vectors:
            due = index.due()
            if due is not None:
                index.install(due, index.make(due, lambda: True))

    @rule(category=st.integers(0, 3), low=st.integers(0, 40), seed=seeds, count=st.integers(1, 20))
    def ask(self, category: int, low: int, seed: int, count: int) -> None:
        catalogue = self.catalogue
        assert catalogue.size == len(self.ids) and catalogue.item_count == len(self.items)
        eligible = [
            item.item_id
            for item in self.items.values()
            if not item.withdrawn and (item.expires_at_ms is None or item.expires_at_ms > self.now)
        ]
        assert self._named(catalogue.eligible(self.now)) == set(eligible)
        assert self._named(catalogue.has_vector(1)) == set(self.vectors)
        parts = (
            Filter(text=TextFilter(field="category", values=[f"c{category}"])),
            Filter(range=RangeFilter(field="attributes.price", min=low)),
        )
        wanted = Filter(all=FilterList(filters=parts))
        matching = catalogue.matching(wanted, "") & catalogue.eligible(self.now)
        fitting = [
            item_id
            for item_id in eligible
            if f"c{category}" in self.items[item_id].categories
            and max(self.items[item_id].numbers.get("price", (-1.0,))) >= low
        ]
        assert self._named(matching) == set(fitting)
        assert catalogue.positives.tolist() == [self.positives.get(each, 0) for each in self.ids]
        assert catalogue.popularity(self.now, 86_400).shape == (catalogue.size,)
        assert catalogue.published_ms.tolist() == [
            self.items[each].published_at_ms if each in self.items else UNKNOWN_MS for each in self.ids
        ]
        query = some_vector(seed)
        # With this few vectors a scan is cheaper than the graph, so the answer is exact.
        rows, _ = catalogue.search(1, query, count, catalogue.eligible(self.now))
        near = sorted(
            (item_id for item_id in eligible if item_id in self.vectors),
            key=lambda item_id: (-float(self.vectors[item_id] @ query), catalogue.row(item_id)),
        )
        assert [catalogue.item_id(row) for row in rows.tolist()] == near[:count]

    def _named(self, mask: NDArray[np.bool_]) -> set[str]:
        assert len(mask) == self.catalogue.size
        return {self.catalogue.item_id(row) for row in np.flatnonzero(mask).tolist()}


def test_a_catalogue_that_grows_answers_like_dictionaries() -> None:
    run_state_machine_as_test(
        CatalogueMachine,
        settings=settings(stateful_step_count=30, suppress_health_check=list(HealthCheck)),
    )
