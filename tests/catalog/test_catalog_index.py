"""Nearest items: with or without the graph, a filtered list equals that of an exact scan."""

import asyncio
import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from catalog import catalog as catalog_module
from catalog.catalog import Catalog
from catalog.in_memory import InMemoryCatalog
from catalog.index import live
from catalog.index.hnsw import BuildStopped
from catalog.index.live import LiveIndex
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from local.servers.ports import free_port
from telemetry.background import BackOff
from tests.catalog.vectors import clustered, exact, merge
from topics.settings import KafkaSettings

WIDTH = 4
# Whole numbers: dot products are exact, and equal ones are really equal.
vectors = st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH).map(lambda v: np.array(v, np.float32))
steps = st.lists(st.tuples(st.integers(0, 30), st.none() | vectors), max_size=60)


def naive(
    held: dict[int, NDArray[np.float32]], query: NDArray[np.float32], count: int, mask: NDArray[np.bool_]
) -> list[tuple[int, float]]:
    found = [(row, float(v @ query)) for row, v in held.items() if row < len(mask) and mask[row]]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[: max(0, count)]


@given(steps, vectors, st.integers(-1, 40), st.lists(st.booleans(), max_size=40))
def test_the_scan_is_the_sorted_list(
    changes: list[tuple[int, NDArray[np.float32] | None]],
    query: NDArray[np.float32],
    count: int,
    allowed: list[bool],
) -> None:
    index, held = LiveIndex(WIDTH, CatalogSettings()), dict[int, NDArray[np.float32]]()
    for row, vector in changes:
        if vector is None:
            index.drop(row)
            held.pop(row, None)
        else:
            index.put(row, vector)
            held[row] = vector
    mask = np.array(allowed, dtype=np.bool_)
    rows, scores = index.search(query, count, mask)
    assert list(zip(rows.tolist(), scores.tolist(), strict=True)) == naive(held, query, count, mask)
    assert index.count == len(held)


@given(
    st.dictionaries(st.integers(0, 300), vectors, max_size=60),
    st.lists(st.tuples(vectors, st.integers(-1, 40)), max_size=5),
    st.lists(st.booleans(), max_size=40) | st.just([False] * 280 + [True] * 20),
)
def test_a_batched_search_equals_single_searches(
    held: dict[int, NDArray[np.float32]], asked: list[tuple[NDArray[np.float32], int]], allowed: list[bool]
) -> None:
    contents, mask = InMemoryCatalog(CatalogSettings()), np.array(allowed, dtype=np.bool_)
    for row in range(max(held, default=-1) + 1):
        contents.put_item(Item(f"{row}"))
        if row in held:
            contents.put_vector(1, f"{row}", held[row])
    queries = np.array([query for query, _ in asked], np.float32).reshape(len(asked), WIDTH)
    found = contents.search_many(1, queries, [count for _, count in asked], mask)
    assert len(found) == len(asked)
    for (query, count), (rows, scores) in zip(asked, found, strict=True):
        assert list(zip(rows.tolist(), scores.tolist(), strict=True)) == naive(held, query, count, mask)
        single_rows, single_scores = contents.search(1, query, count, mask)
        assert (rows.tolist(), scores.tolist()) == (single_rows.tolist(), single_scores.tolist())


def filled(size: int, **options: int) -> tuple[LiveIndex, NDArray[np.float32]]:
    data = clustered(np.random.default_rng(size), size)
    index = LiveIndex(data.shape[1], CatalogSettings(exact_below=1000, **options))
    for row, vector in enumerate(data):
        index.put(row, vector)
    return index, data


@pytest.fixture(scope="module")
def graph() -> tuple[LiveIndex, NDArray[np.float32]]:
    index, data = filled(40_000)
    assert merge(index)
    return index, data


@pytest.mark.parametrize("matching", [0, 1, 5, 50, 400, 2000, 6000, 19_000, 40_000])
def test_a_list_is_full_however_strict_the_filter(
    graph: tuple[LiveIndex, NDArray[np.float32]], matching: int
) -> None:
    index, data = graph
    rng = np.random.default_rng(matching)
    mask = np.zeros(len(data), dtype=np.bool_)
    hits, wanted = 0, 0
    for _ in range(20):
        query = data[rng.integers(len(data))] + 0.1
        # The matching rows are the farthest from the query. A filter applied after the search would miss them.
        mask[:] = False
        mask[np.argsort(data @ query)[:matching]] = True
        rows, scores = index.search(query, 10, mask)
        assert len(rows) == min(10, matching) == len(set(rows.tolist()))
        assert mask[rows].all()
        assert (np.diff(scores) <= 0).all()
        hits += len(set(rows.tolist()) & set(exact(data, query, 10, mask)))
        wanted += len(rows)
    assert hits >= 0.95 * wanted
    if matching <= 2000:
        assert hits == wanted, "few matching rows are scanned, and that is exact"


def test_a_batched_search_with_a_graph_equals_single_searches(
    graph: tuple[LiveIndex, NDArray[np.float32]],
) -> None:
    index, data = graph
    mask, counts = np.arange(len(data)) % 3 > 0, [10, 0, 300]
    found = index.search_many(data[[5, 6, 7]], counts, mask)
    for query, count, (rows, scores) in zip(data[[5, 6, 7]], counts, found, strict=True):
        alone = index.search(query, count, mask)
        assert (rows.tolist(), scores.tolist()) == (alone[0].tolist(), alone[1].tolist())


def test_the_graph_is_used_where_it_is_cheaper(graph: tuple[LiveIndex, NDArray[np.float32]]) -> None:
    index, data = graph
    asked = []
    inner = index._graph
    assert inner is not None
    near = inner.nearest
    inner.nearest = lambda query, count: asked.append(count) or near(query, count)  # type: ignore[method-assign,func-returns-value]
    try:
        index.search(data[0], 10, np.ones(len(data), dtype=np.bool_))
        assert asked
        asked.clear()
        index.search(data[0], 10, np.arange(len(data)) < 20)
        assert not asked
    finally:
        del inner.nearest


def test_changes_after_a_graph_was_built_are_found_at_once() -> None:
    index, data = filled(5000)
    assert merge(index)
    everything = np.ones(5003, dtype=np.bool_)
    query = data[7] * 50
    index.put(5000, query)
    index.put(9, query * 2)
    index.drop(7)
    rows, _ = index.search(query, 10, everything)
    assert rows[:2].tolist() == [9, 5000]
    assert 7 not in rows
    index.put(9, -query)
    assert 9 not in index.search(query, 10, everything)[0]


def test_changes_during_a_merge_are_not_lost() -> None:
    index, data = filled(5000)
    due = index.due()
    assert due is not None
    query = data[11] * 50
    index.put(11, -query)
    index.put(12, query)
    index.put(20_000, query * 2)
    index.drop(13)
    made = index.make(due, lambda: True)
    index.put(14, query * 3)
    index.install(due, made)
    everything = np.ones(20_001, dtype=np.bool_)
    rows, _ = index.search(query, 10, everything)
    assert rows[:3].tolist() == [14, 20_000, 12]
    assert not {11, 13} & set(rows.tolist())
    assert len(index.search(data[13], 6000, everything)[0]) == index.count == 5000


def test_a_merge_adds_new_rows_and_rebuilds_when_too_many_nodes_are_stale() -> None:
    index, data = filled(5000)
    assert merge(index) and not merge(index)
    for row in range(200):
        index.put(row, data[row] + 1)
    due = index.due()
    assert due is not None and due.base is not None and len(due.rows) == 200
    index.install(due, index.make(due, lambda: True))
    for row in range(2500):
        index.put(row, data[row] + 2)
    due = index.due()
    assert due is not None and due.base is None and len(due.rows) == 5000
    index.install(due, index.make(due, lambda: True))
    moved = data + np.where(np.arange(5000) < 2500, 2, 0).astype(np.float32)[:, None]
    rows, _ = index.search(moved[17], 10, np.ones(5000, dtype=np.bool_))
    assert len(set(rows.tolist()) & set(exact(moved, moved[17], 10, np.ones(5000, dtype=np.bool_)))) >= 8


def test_a_build_that_is_no_longer_wanted_stops_and_is_due_again() -> None:
    index, data = filled(5000)
    due = index.due()
    assert due is not None and index.due() is None
    with pytest.raises(BuildStopped):
        index.make(due, lambda: False)
    index.abandon()
    assert merge(index)
    assert len(index.search(data[0], 10, np.ones(5000, dtype=np.bool_))[0]) == 10


def test_no_graph_is_built_for_an_unsearched_catalogue() -> None:
    data = clustered(np.random.default_rng(0), 2_000)
    index = LiveIndex(data.shape[1], CatalogSettings(exact_below=1000).unsearched())
    for row, vector in enumerate(data):
        index.put(row, vector)
    assert not merge(index) and index.in_graph == 0
    np.testing.assert_array_equal(index.vectors(np.array([7, 1_999])), data[[7, 1_999]].astype(np.float32))


async def test_stopping_the_catalogue_stops_a_build() -> None:
    nowhere = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}", request_timeout_ms=200)
    catalog = Catalog(CatalogSettings(exact_below=1000, expansion_add=1024), nowhere)
    data = clustered(np.random.default_rng(0), 20_000)
    for row, vector in enumerate(data):
        catalog.put_vector(1, f"i{row}", vector)
    (index,) = catalog._vectors
    task = asyncio.create_task(catalog.run())
    async with asyncio.timeout(20):
        while index._touched is None:
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()
    assert index._graph is None and len(catalog.search(1, data[0], 10, catalog.has_vector(1))[0]) == 10


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0, 1))
def test_amid_changes_and_merges_a_filtered_list_is_full_and_has_only_allowed_rows(
    seed: int, count: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    data = clustered(rng, 1500)
    index = LiveIndex(data.shape[1], CatalogSettings(exact_below=500, merge_share=0.05))
    held = dict[int, NDArray[np.float32]]()
    for row, vector in enumerate(data):
        index.put(row, vector)
        held[row] = vector
    for _ in range(4):
        merge(index)
        for row in rng.integers(0, 1600, 120).tolist():
            if rng.random() < 0.3:
                index.drop(row)
                held.pop(row, None)
            else:
                held[row] = rng.normal(size=(1, data.shape[1]))[0].astype(np.float32)
                index.put(row, held[row])
        mask = rng.random(1600) < share
        query = rng.normal(size=(1, data.shape[1]))[0].astype(np.float32)
        rows, scores = index.search(query, count, mask)
        wanted = {row for row in held if mask[row]}
        assert len(rows) == len(set(rows.tolist())) == min(count, len(wanted))
        assert set(rows.tolist()) <= wanted
        np.testing.assert_allclose(scores, [held[row] @ query for row in rows.tolist()], rtol=1e-4, atol=1e-4)


async def test_a_failed_merge_is_retried_and_searches_scan_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog_module, "_MERGE_BACK_OFF", BackOff(0.01, 0.01, 0))
    nowhere = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}", request_timeout_ms=200)
    catalog = Catalog(CatalogSettings(exact_below=1000), nowhere)
    data = clustered(np.random.default_rng(0), 2000)
    for row, vector in enumerate(data):
        catalog.put_vector(1, f"i{row}", vector)
    (index,) = catalog._vectors
    failures: list[str] = []

    def failing(step: str, whole):
        def run(*arguments):
            if step not in failures:
                failures.append(step)
                assert len(catalog.search(1, data[0], 10, catalog.has_vector(1))[0]) == 10
                raise ArithmeticError(step)
            return whole(*arguments)

        return run

    for step in ("due", "make", "install"):
        monkeypatch.setattr(index, step, failing(step, getattr(index, step)))
    task = asyncio.create_task(catalog.run())
    async with asyncio.timeout(30):
        while index._graph is None:
            await asyncio.sleep(0.01)
    assert failures == ["due", "make", "install"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_more_build_threads_than_cores_lose_nothing_in_a_new_graph_or_a_copy() -> None:
    settings = CatalogSettings(exact_below=100, merge_share=0.01, build_threads=64)
    data = np.random.default_rng(0).normal(size=(2200, 16)).astype(np.float32)
    index = LiveIndex(16, settings)
    for start, end in ((0, 2000), (2000, 2200)):
        for row in range(start, end):
            index.put(row, data[row])
        merge = index.due()
        assert merge is not None
        index.install(merge, index.make(merge, lambda: True))
        assert index.in_graph == index.count == end
    rows, _ = index.search(data[2100], 1, np.ones(2200, dtype=np.bool_))
    assert rows.tolist() == [int(np.argmax(data @ data[2100]))]


def test_a_row_that_gets_its_former_vector_back_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-6)
    index, data = filled(2000)
    assert merge(index)
    for row in range(100):
        index.put(row, data[row] + 1)
    assert merge(index)
    for row in range(100):
        index.put(row, data[row])
    assert merge(index)
    rows, _ = index.search(data[7], 200, np.ones(2000, np.bool_))
    assert len(set(rows.tolist())) == 200


def unit(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    found = clustered(rng, size, 32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("place", ["first", "last", "anywhere", "in a merge"])
def test_many_equal_vectors_hide_no_others(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qdrant 10239, Lucene 13611: copies fill each other's links, and a search that comes upon them ends there. Items
    without a text are copies."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-6)
    rng = np.random.default_rng(0)
    data, queries = unit(rng, 4000), unit(rng, 40)
    copies = {
        "first": np.arange(800),
        "last": np.arange(3200, 4000),
        "in a merge": np.arange(3200, 4000),
        "anywhere": rng.permutation(4000)[:800],
    }[place]
    data[copies] = data[copies[0]]
    index = LiveIndex(32, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        if place == "in a merge" and row in (3300, 3800):
            merge(index)
        index.put(row, vector)
    assert merge(index) and index.in_graph == index.count == 4000
    hits = []
    for query in queries:
        rows, scores = index.search(query, 100, np.ones(4000, np.bool_))
        assert len(set(rows.tolist())) == 100
        hits.append(np.count_nonzero(scores >= np.sort(data @ query)[-100] - 1e-5))
    assert min(hits) >= 70 and np.mean(hits) >= 90, hits
    # All copies are found, and one that gets a vector of its own leaves the others where they are.
    index.put(int(copies[0]), -data[copies[0]])
    rows, scores = index.search(data[copies[1]], 799, np.ones(4000, np.bool_))
    assert set(rows[scores > 0.999].tolist()) >= set(copies[1:].tolist())


def test_a_row_that_changes_while_its_copies_are_merged_is_no_copy() -> None:
    data = unit(np.random.default_rng(0), 2000)
    data[:50] = data[0]
    index = LiveIndex(32, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        index.put(row, vector)
    due = index.due()
    assert due is not None
    index.put(0, data[1999])
    index.put(7, data[1998])
    index.install(due, index.make(due, lambda: True))
    everything = np.ones(2000, np.bool_)
    rows, scores = index.search(data[1], 48, everything)
    assert set(rows.tolist()) == set(range(1, 50)) - {7} and (scores > 0.999).all()
    assert index.search(data[1999], 2, everything)[0].tolist() == [0, 1999]
    assert index.search(data[1998], 2, everything)[0].tolist() == [7, 1998]


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
def test_vectors_of_different_lengths_are_found(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus 51821, hnswlib 74: inner products are no distances. A graph of unequally long vectors led searches to the
    long ones, and found 7 of 10 where lengths differed by a fifth. Bundles that were trained without a temperature have
    such vectors."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-6)
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(0, spread, 6000)[:, None].astype(np.float32)
    directions = unit(rng, 6000)
    data = directions * lengths
    queries = directions[:40] + (0.1 * rng.normal(size=(40, 32))).astype(np.float32)
    index = LiveIndex(32, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        if row == 5000:
            merge(index)
        index.put(row, vector)
    assert merge(index) and index.in_graph == 6000 and index.recall >= 0.9
    hits = []
    for query in queries:
        rows, scores = index.search(query, 100, np.ones(6000, np.bool_))
        np.testing.assert_allclose(scores, data[rows] @ query, rtol=1e-4, atol=1e-5)
        hits.append(len(set(rows.tolist()) & set(exact(data, query, 100, np.ones(6000, np.bool_)))))
    assert np.mean(hits) >= 90, hits


@pytest.mark.parametrize("price", [1e-6, 1.3])
def test_a_graph_that_misses_too_much_at_the_price_of_a_scan_is_not_searched(
    price: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One vector in a hundred is ten times as long: few candidates find a third of a scan's first hundred."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", price)
    rng = np.random.default_rng(0)
    data = unit(rng, 6000) * np.where(rng.random(6000) < 0.01, 10, 1)[:, None].astype(np.float32)
    index = LiveIndex(32, CatalogSettings(exact_below=1000, expansion_search=8))
    for row, vector in enumerate(data):
        index.put(row, vector)
    assert index.recall == 1.0 and merge(index)
    assert (index.recall >= 0.9) == (price < 1)
    everything = np.ones(6000, np.bool_)
    hits = [
        len(set(index.search(query, 100, everything)[0].tolist()) & set(exact(data, query, 100, everything)))
        for query in data[:30]
    ]
    assert np.mean(hits) >= 90 and (price < 1 or min(hits) == 100)


def test_a_graph_that_grows_keeps_finding_what_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph was compared with scans only when it was built. With ten times the vectors it found too few."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-6)
    data = np.random.default_rng(0).normal(size=(15_000, 64)).astype(np.float32)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    index = LiveIndex(64, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        index.put(row, vector)
        if row in (1500, 14_000, 14_999):
            assert merge(index)
    for row in range(500):
        index.put(row, data[row])  # A vector that is sent again leaves the graph, and returns to its node.
    assert merge(index) and index.in_graph == len(data) and index.recall >= 0.9
    everything = np.ones(len(data), np.bool_)
    hits = [
        len(set(index.search(query, 100, everything)[0].tolist()) & set(exact(data, query, 100, everything)))
        for query in data[:60]
    ]
    assert np.mean(hits) >= 90, np.mean(hits)


def test_a_graph_that_needed_many_candidates_examines_few_again_once_they_suffice() -> None:
    """The first items of a catalogue are far apart. Later ones are near them, and a search would stay slow."""
    data = unit(np.random.default_rng(0), 2000)
    index = LiveIndex(32, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        if row == 1500:
            assert merge(index)
            index.single.candidates = 1024
        index.put(row, vector)
    assert merge(index) and index.in_graph == 2000
    assert index.single.candidates == 128 and index.recall >= 0.95


def test_a_graph_finds_what_users_ask_for_whose_interests_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's vector is near the middle of his items, and far from each. A graph found 64 of a scan's first hundred
    for such queries while it found 99 for its own vectors, by which alone it was judged."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-3)
    rng = np.random.default_rng(0)
    data = clustered(rng, 30_000, 64)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    users = np.stack([data[rng.integers(0, len(data), 5)].sum(axis=0) for _ in range(100)])
    index = LiveIndex(64, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        index.put(row, vector)
    assert merge(index) and index.single.candidates == 128
    everything = np.ones(len(data), np.bool_)

    def found(queries: NDArray[np.float32]) -> float:
        return float(
            np.mean([
                len(set(index.search(query, 100, everything)[0].tolist()) & set(exact(data, query, 100, everything)))
                for query in queries
            ])
        )  # fmt: skip

    before = found(users[:50])
    assert merge(index), "there are enough queries to compare again"
    assert not merge(index)
    assert index.single.candidates > 128 and before < 90 < 95 <= found(users[50:])
    assert index.several.candidates == 128, "items are found as before"


def test_rows_that_change_while_a_graph_is_compared_again_stay_outside_of_it() -> None:
    index, data = filled(5000)
    assert merge(index)
    everything = np.ones(5000, np.bool_)
    for query in data[:50]:
        index.search(query, 5, everything)
    assert index.due() is not None
    index.abandon()
    merging = index.due()
    assert merging is not None and not len(merging.rows)
    index.put(7, -data[7])
    index.drop(8)
    index.install(merging, index.make(merging, lambda: True))
    assert index.in_graph == 4998
    assert index.search(-data[7], 1, everything)[0].tolist() == [7]
    assert 8 not in index.search(data[8], 10, everything)[0]


@pytest.mark.parametrize("place", [0, 1000, 1999])
def test_a_vector_far_from_all_others_is_found(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """hnswlib 352: none of the others linked to it, and no search returned it, not even one for itself."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-6)
    data = unit(np.random.default_rng(0), 2000)
    data = np.abs(data)
    data[place] = -data[place]
    index = LiveIndex(32, CatalogSettings(exact_below=1000))
    for row, vector in enumerate(data):
        index.put(row, vector)
    assert merge(index)
    assert index.search(data[place], 10, np.ones(2000, np.bool_))[0][0] == place
