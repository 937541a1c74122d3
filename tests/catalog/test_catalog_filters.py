"""Filters: after any changes of the catalogue, a mask equals a test of every item."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.filters.conditions import condition_of
from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from recstream.v1.filter_pb2 import Filter, RangeFilter, TextFilter
from tests.catalog.filter_trees import naive, trees

NAMES = ["a", "b", "c", "d"]
NUMBERS = [-1.0, 0.0, 1.0, 2.5]
IDS = [f"i{i}" for i in range(12)]
names = st.sampled_from(NAMES)
several_texts = st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)
several_numbers = st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3, unique=True).map(tuple)

items = st.builds(
    Item,
    item_id=st.sampled_from(IDS),
    categories=st.lists(names, unique=True, max_size=3).map(tuple),
    texts=st.dictionaries(st.sampled_from(["a", "b"]), several_texts, max_size=2),
    numbers=st.dictionaries(st.sampled_from(["c", "d"]), several_numbers, max_size=2),
    domain=st.sampled_from(["", "shop", "video"]),
)
attributes = names.map(lambda name: f"attributes.{name}")
filters = st.none() | trees(
    fields=st.sampled_from(["category", "domain"]) | attributes,
    attributes=attributes,
    texts=st.sampled_from([*NAMES, "shop", "video"]),
    numbers=st.sampled_from(NUMBERS),
    ids=st.sampled_from([*IDS, "x0", "unknown"]),
)
domains = st.sampled_from(["", "shop", "video", "none"])


def wanted_by(item: Item, wanted: Filter | None, domain: str) -> bool:
    return domain in ("", item.domain) and (wanted is None or naive(item, wanted))


@given(
    st.lists(st.tuples(items, st.booleans()), max_size=40),
    st.lists(st.tuples(filters, domains), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_masks_follow_every_put_and_removal(
    steps: list[tuple[Item, bool]], asked: list[tuple[Filter | None, str]], cached: int
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
            assert found == {item_id for item_id, each in held.items() if wanted_by(each, wanted, domain)}


@given(items, filters, domains)
def test_a_test_of_one_item_is_what_the_contract_says(item: Item, wanted: Filter | None, domain: str) -> None:
    assert condition_of(wanted, domain).matches(item) == wanted_by(item, wanted, domain)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 399), items), max_size=300), filters, domains)
def test_masks_from_dense_postings_and_numbers_are_right(
    changes: list[tuple[int, Item]], wanted: Filter | None, domain: str
) -> None:
    catalog = InMemoryCatalog(CatalogSettings())
    for i in range(400):
        catalog.put_item(
            Item(
                f"x{i}",
                categories=("a",),
                texts={"a": ("a", "b"), "own": (str(i),)},
                numbers={"c": (i % 3, 2.5) if i % 2 else (i % 3,)},
                domain="shop",
            )
        )
    for i, item in changes:
        catalog.put_item(Item(f"x{i}", "", "", item.categories, item.texts, item.numbers, item.domain))
    mask = catalog.matching(wanted, domain)
    assert mask.tolist() == [wanted_by(catalog.item(row), wanted, domain) for row in range(catalog.size)]
    for text in ("a", "b", "7"):
        for name in ("a", "own", "nowhere"):
            having = [row for row in range(catalog.size) if text in catalog.item(row).texts.get(name, ())]
            assert sorted(catalog.having(f"attributes.{name}", text).tolist()) == having


def test_an_item_that_loses_one_of_its_numbers_is_no_longer_found_by_it() -> None:
    catalog = InMemoryCatalog(CatalogSettings())
    second = Filter(range=RangeFilter(field="attributes.size", min=2, max=2))
    # Enough rows for the second numbers to be in a dense array.
    for i in range(200):
        catalog.put_item(Item(f"i{i}", numbers={"size": (1.0, 2.0)}))
    assert catalog.matching(second, "").all()
    catalog.put_item(Item("i7", numbers={"size": (1.0,)}))
    catalog.put_item(Item("i8"))
    catalog.remove_item("i9")
    fresh = Filter(range=RangeFilter(field="attributes.size", min=2, max=2.5))
    for wanted in (second, fresh):
        assert catalog.matching(wanted, "").nonzero()[0].tolist() == [
            i for i in range(200) if i not in (7, 8, 9)
        ]


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
    wanted = Filter(text=TextFilter(field="category", values=["even"]))
    catalog.matching(wanted, "")
    for i in range(10_000):
        catalog.put_item(Item(f"i{i}", categories=("odd" if i % 2 else "even",)))
    assert catalog.matching(wanted, "").tolist() == [i % 2 == 0 for i in range(10_000)]
