"""Filters: after any changes of the catalogue, a mask equals a test of every item."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from recstream.v1 import filter_pb2

NAMES = ["a", "b", "c", "d"]
NUMBERS = [-1.0, 0.0, 1.0, 2.5]
names = st.sampled_from(NAMES)
bounds = st.none() | st.sampled_from([*NUMBERS, -math.inf, math.inf])

items = st.builds(
    Item,
    item_id=st.sampled_from([f"i{i}" for i in range(12)]),
    categories=st.lists(names, unique=True, max_size=3).map(tuple),
    attributes=st.dictionaries(names, names, max_size=2),
    numbers=st.dictionaries(names, st.sampled_from(NUMBERS), max_size=2),
    domain=st.sampled_from(["", "shop", "video"]),
)
filters = st.none() | st.builds(
    filter_pb2.Filter,
    categories=st.lists(names, max_size=2),
    excluded_categories=st.lists(names, max_size=2),
    attributes=st.lists(
        st.builds(filter_pb2.AttributeFilter, name=names, values=st.lists(names, max_size=3)), max_size=2
    ),
    ranges=st.lists(st.builds(filter_pb2.RangeFilter, name=names, min=bounds, max=bounds), max_size=2),
)
domains = st.sampled_from(["", "shop", "video", "none"])


def naive(item: Item, wanted: filter_pb2.Filter | None, domain: str) -> bool:
    if domain and item.domain != domain:
        return False
    if wanted is None:
        return True
    return (
        (not wanted.categories or any(c in item.categories for c in wanted.categories))
        and not any(c in item.categories for c in wanted.excluded_categories)
        and all(item.attributes.get(a.name) in list(a.values) for a in wanted.attributes)
        and all(
            r.name in item.numbers
            and (not r.HasField("min") or item.numbers[r.name] >= r.min)
            and (not r.HasField("max") or item.numbers[r.name] <= r.max)
            for r in wanted.ranges
        )
    )


@given(
    st.lists(st.tuples(items, st.booleans()), max_size=40),
    st.lists(st.tuples(filters, domains), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_masks_follow_every_put_and_removal(
    steps: list[tuple[Item, bool]], asked: list[tuple[filter_pb2.Filter | None, str]], cached: int
) -> None:
    catalog = InMemoryCatalog(CatalogSettings(cached_filters=cached))
    held: dict[str, Item] = {}
    for item, removed in steps:
        if removed:
            catalog.remove_item(item.item_id)
            held.pop(item.item_id, None)
        else:
            catalog.put_item(item)
            held[item.item_id] = item
        for wanted, domain in asked:
            mask = catalog.matching(wanted, domain) & catalog.eligible(0)
            found = {catalog.item_id(int(row)) for row in mask.nonzero()[0]}
            assert found == {item_id for item_id, each in held.items() if naive(each, wanted, domain)}


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 399), items), max_size=300), filters, domains)
def test_masks_from_dense_postings_and_numbers_are_right(
    changes: list[tuple[int, Item]], wanted: filter_pb2.Filter | None, domain: str
) -> None:
    catalog = InMemoryCatalog(CatalogSettings())
    for i in range(400):
        catalog.put_item(
            Item(
                f"x{i}",
                categories=("a",),
                attributes={"a": "a", "own": str(i)},
                numbers={"a": i % 3},
                domain="shop",
            )
        )
    for i, item in changes:
        catalog.put_item(Item(f"x{i}", "", "", item.categories, item.attributes, item.numbers, item.domain))
    mask = catalog.matching(wanted, domain)
    assert mask.tolist() == [naive(catalog.item(row), wanted, domain) for row in range(catalog.size)]


def test_a_returned_mask_never_changes() -> None:
    catalog = InMemoryCatalog(CatalogSettings())
    catalog.put_item(Item("a", domain="shop"))
    before = catalog.matching(None, "shop")
    catalog.put_item(Item("a", domain="video"))
    catalog.put_item(Item("b", domain="shop"))
    assert before.tolist() == [True]
    assert catalog.matching(None, "shop").tolist() == [False, True]
    with pytest.raises(ValueError, match="read-only"):
        before[0] = False


def test_the_mask_of_a_repeated_filter_is_cached() -> None:
    catalog = InMemoryCatalog(CatalogSettings())
    catalog.put_item(Item("a", domain="shop"))
    assert catalog.matching(None, "shop") is catalog.matching(None, "shop")


def test_a_mask_that_is_thousands_of_changes_behind_is_updated() -> None:
    catalog = InMemoryCatalog(CatalogSettings())
    wanted = filter_pb2.Filter(categories=["even"])
    catalog.matching(wanted, "")
    for i in range(10_000):
        catalog.put_item(Item(f"i{i}", categories=("odd" if i % 2 else "even",)))
    assert catalog.matching(wanted, "").tolist() == [i % 2 == 0 for i in range(10_000)]
