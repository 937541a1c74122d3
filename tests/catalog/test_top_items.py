"""The top items of the catalogue, in each order, against sorting by hand."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.popularity.stats import HOUR_MS
from catalog.top_items import ItemOrder, TopItems, TopItemsQuery
from profiles.folding.tail import hash64
from profiles.times import timestamp
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import item_pb2
from tests.ranking.filled_catalog import FilledCatalog

NOW_MS = 1_800_000_000_000
NOW_HOUR = NOW_MS // HOUR_MS
HALF_LIFE_S = 86_400.0


def top(
    catalog: FilledCatalog, order: ItemOrder, count: int = 10, **fields: object
) -> list[tuple[str, float]]:
    query = TopItemsQuery(order, count, **fields)  # type: ignore[arg-type]
    return [(each.item_id, each.figure) for each in TopItems(catalog, HALF_LIFE_S).find(query, NOW_MS)]


def catalog_of(*counts: dict[int, int]) -> FilledCatalog:
    """Items i0, i1, ... with positive events by hours ago."""
    catalog = FilledCatalog(lambda: NOW_MS)
    for n, by_hour in enumerate(counts):
        catalog.put(item_pb2.Item(item_id=f"i{n}"))
        hours = [
            catalog_pb2.HourBucket(hour=NOW_HOUR - ago, count=count) for ago, count in sorted(by_hour.items())
        ]
        catalog.put_stats(f"i{n}", catalog_pb2.ItemStats(positives=sum(by_hour.values()), hours=hours))
    return catalog


@given(
    st.lists(
        st.dictionaries(st.integers(0, 60), st.integers(1, 3), max_size=4).map(
            lambda by_hour: dict(sorted(by_hour.items(), reverse=True))
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 61),
    st.integers(1, 35),
)
def test_popular_items_of_a_window_are_those_with_the_most_events_in_it(
    counts: list[dict[int, int]], hours: int, count: int
) -> None:
    def of(by_hour: dict[int, int]) -> int:
        return sum(events for ago, events in by_hour.items() if ago <= hours)

    def place(n: int) -> tuple[int, int, int]:
        return -of(counts[n]), -sum(counts[n].values()), hash64(f"i{n}")

    order = sorted(range(len(counts)), key=place)[:count]
    found = top(catalog_of(*counts), ItemOrder.POPULAR, count, window_ms=hours * HOUR_MS)
    assert found == [(f"i{n}", of(counts[n])) for n in order]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 35))
def test_popular_items_without_a_window_are_those_with_the_most_events(counts: list[int], count: int) -> None:
    order = sorted(range(len(counts)), key=lambda n: (-counts[n], hash64(f"i{n}")))[:count]
    catalog = catalog_of(*({3: each} if each else {} for each in counts))
    assert top(catalog, ItemOrder.POPULAR, count) == [(f"i{n}", counts[n]) for n in order]


def test_a_window_begins_with_the_hour_in_which_it_begins() -> None:
    catalog = catalog_of({1: 1}, {2: 5})
    assert top(catalog, ItemOrder.POPULAR, window_ms=HOUR_MS) == [("i0", 1), ("i1", 0)]
    assert NOW_MS % HOUR_MS == 0
    assert top(catalog, ItemOrder.POPULAR, window_ms=HOUR_MS + 1) == [("i1", 5), ("i0", 1)]


def test_trending_items_are_those_whose_recent_events_weigh_most() -> None:
    catalog = catalog_of({72: 16}, {0: 3}, {24: 4}, {})
    assert top(catalog, ItemOrder.TRENDING) == [
        ("i1", pytest.approx(3)),
        ("i0", pytest.approx(2)),
        ("i2", pytest.approx(2)),
        ("i3", 0),
    ]


def test_the_newest_items_have_appeared_already() -> None:
    catalog = FilledCatalog(lambda: NOW_MS)
    for item_id, published in (
        ("old", 5),
        ("now", NOW_MS),
        ("later", NOW_MS + 1),
        ("unknown", None),
        ("new", 900),
    ):
        at = None if published is None else timestamp(published)
        catalog.put(item_pb2.Item(item_id=item_id, published_at=at))
    assert top(catalog, ItemOrder.NEWEST) == [("now", NOW_MS), ("new", 900), ("old", 5)]
    assert top(catalog, ItemOrder.NEWEST, 1) == [("now", NOW_MS)]


def test_films_of_before_1970_have_appeared_and_so_has_one_of_its_first_moment() -> None:
    catalog = FilledCatalog(lambda: NOW_MS)
    times = {
        "1940": -946_771_200_000,
        "1969": -1,
        "1970": 0,
        "1971": 31_536_000_000,
        "year 1": -62_135_596_800_000,
    }
    for item_id, published in times.items():
        catalog.put(item_pb2.Item(item_id=item_id, published_at=timestamp(published)))
    catalog.put(item_pb2.Item(item_id="unknown"))
    newest_first = ["1971", "1970", "1969", "1940", "year 1"]
    assert top(catalog, ItemOrder.NEWEST) == [(item_id, times[item_id]) for item_id in newest_first]
    assert top(catalog, ItemOrder.NEWEST, 3) == [(item_id, times[item_id]) for item_id in newest_first[:3]]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, 0, 7])), min_size=1, max_size=40),
    st.integers(1, 45),
    st.sampled_from(ItemOrder),
    st.randoms(use_true_random=False),
)
def test_servers_that_read_the_items_in_different_orders_answer_alike(
    items: list[tuple[int, int | None]], count: int, order: ItemOrder, chooser: random.Random
) -> None:
    def server(numbers: list[int]) -> list[tuple[str, float]]:
        catalog = FilledCatalog(lambda: NOW_MS)
        for n in numbers:
            events, published = items[n]
            at = None if published is None else timestamp(published)
            catalog.put(item_pb2.Item(item_id=f"i{n}", published_at=at))
            catalog.popular({f"i{n}": events})
        return top(catalog, order, count)

    numbers = list(range(len(items)))
    assert server(numbers) == server(chooser.sample(numbers, len(numbers)))


@pytest.mark.parametrize("order", ItemOrder)
def test_items_that_must_not_be_recommended_or_do_not_match_are_left_out(order: ItemOrder) -> None:
    catalog = FilledCatalog(lambda: NOW_MS)
    for item_id, fields in (
        ("shown", {}),
        ("withdrawn", {"withdrawn": True}),
        ("expired", {"expires_at": timestamp(NOW_MS)}),
        ("removed", {}),
        ("excluded", {}),
        ("elsewhere", {"domain": "shop"}),
    ):
        given = {"domain": "video", "published_at": timestamp(7), **fields}
        catalog.put(item_pb2.Item(item_id=item_id, **given))
    catalog.popular(
        dict.fromkeys(("withdrawn", "expired", "removed", "excluded", "elsewhere", "never put"), 9)
    )
    catalog.remove_item("removed")
    excluded = frozenset({"excluded", "nowhere"})
    assert [item_id for item_id, _ in top(catalog, order, domain="video", excluded=excluded)] == ["shown"]


def test_an_empty_catalogue_has_no_top_items() -> None:
    for order in ItemOrder:
        assert top(FilledCatalog(lambda: NOW_MS), order) == []


def test_the_order_in_which_events_arrive_between_queries_does_not_matter() -> None:
    catalog = catalog_of({1: 2}, {1: 1})
    window = {"window_ms": 24 * HOUR_MS}
    assert top(catalog, ItemOrder.POPULAR, **window) == [("i0", 2), ("i1", 1)]
    catalog.popular({"i1": 7, "i9": 99}, hours_ago=2)
    assert top(catalog, ItemOrder.POPULAR, **window) == [("i1", 7), ("i0", 2)]
    catalog.put(item_pb2.Item(item_id="i9"))
    rng = np.random.default_rng(0)
    for n in rng.permutation(50).tolist():
        catalog.put(item_pb2.Item(item_id=f"more-{n}"))
        catalog.popular({f"more-{n}": 200 + n})
    assert top(catalog, ItemOrder.POPULAR, 51, **window)[::50] == [("more-49", 249), ("i9", 99)]
