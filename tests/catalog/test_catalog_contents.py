"""Rows, eligibility, vectors, statistics and listeners of the in-memory catalogue."""

import contextlib
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from catalog.changes import Change
from catalog.errors import BadRecord
from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.popularity.stats import HOUR_MS
from catalog.records import appliers, stats_key, vector_key
from catalog.settings import CatalogSettings
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import item_pb2
from tests.catalog.records import Record
from topics.names import Topics

NOW = 1_700_000_000_000


@pytest.fixture
def catalog() -> InMemoryCatalog:
    return InMemoryCatalog(CatalogSettings(versions=2), now_ms=lambda: NOW)


def floats(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)


def test_a_row_belongs_to_its_item_for_ever(catalog: InMemoryCatalog) -> None:
    catalog.put_item(Item("a", "A"))
    catalog.put_item(Item("b", "B"))
    catalog.remove_item("a")
    assert catalog.row("a") is None and catalog.item_id(0) == "a" and catalog.item(0) == Item("a")
    catalog.put_item(Item("c"))
    catalog.put_item(Item("a", "A again"))
    assert (catalog.row("a"), catalog.row("b"), catalog.row("c")) == (0, 1, 2)
    assert catalog.item(0).title == "A again" and catalog.size == catalog.item_count == 3


def test_only_known_items_that_are_neither_withdrawn_nor_expired_are_eligible(
    catalog: InMemoryCatalog,
) -> None:
    for item in (
        Item("plain"),
        Item("withdrawn", withdrawn=True),
        Item("expired", expires_at_ms=NOW),
        Item("soon", expires_at_ms=NOW + 10),
        Item("removed"),
    ):
        catalog.put_item(item)
    catalog.remove_item("removed")
    catalog.put_vector(1, "vector only", floats(1, 2))
    assert catalog.eligible(NOW).tolist() == [True, False, False, True, False, False]
    assert catalog.eligible(NOW + 9)[3] and not catalog.eligible(NOW + 10)[3]
    assert catalog.eligible(NOW)[3], "a clock that went back gets the mask of its moment"
    catalog.put_item(Item("withdrawn"))
    assert catalog.eligible(NOW)[1]


def test_the_next_expiry_of_rows_is_the_earliest(catalog: InMemoryCatalog) -> None:
    for item in (Item("never"), Item("late", expires_at_ms=NOW + 5), Item("early", expires_at_ms=NOW + 3)):
        catalog.put_item(item)
    assert catalog.next_expiry(np.array([0, 1, 2])) == NOW + 3
    assert catalog.next_expiry(np.array([0])) is None
    assert catalog.next_expiry(np.array([], dtype=np.int64)) is None


def test_equal_main_categories_have_equal_codes(catalog: InMemoryCatalog) -> None:
    for item in (
        Item("a", categories=("x", "y")),
        Item("b", categories=("y",)),
        Item("c"),
        Item("d", categories=("x",)),
    ):
        catalog.put_item(item)
    a, b, c, d = catalog.main_category(np.arange(4)).tolist()
    assert a == d != b and c == -1


def test_listeners_get_the_last_change_of_each_row_once(catalog: InMemoryCatalog) -> None:
    heard: list[tuple[Change, Sequence[int]]] = []
    end = catalog.listen(lambda change, rows: heard.append((change, rows)))
    for name in "abcde":
        catalog.put_item(Item(name))
    catalog.notify()
    assert heard == [(Change.CHANGED, (0, 1, 2, 3, 4))]
    heard.clear()
    catalog.put_item(Item("a", "changed"))
    catalog.put_item(Item("b", "changed"))
    catalog.put_item(Item("b", withdrawn=True))
    catalog.remove_item("c")
    catalog.remove_item("unknown")
    catalog.put_item(Item("d", expires_at_ms=NOW - 1))
    catalog.notify()
    catalog.notify()
    assert heard == [(Change.CHANGED, (0,)), (Change.WITHDRAWN, (1, 3)), (Change.REMOVED, (2,))]
    end()
    heard.clear()
    catalog.put_item(Item("e", "unheard"))
    catalog.notify()
    assert heard == []


def test_a_listener_that_fails_does_not_silence_the_others(catalog: InMemoryCatalog) -> None:
    heard: list[Sequence[int]] = []

    def fails(change: Change, rows: Sequence[int]) -> None:
        raise RuntimeError

    catalog.listen(fails)
    catalog.listen(lambda change, rows: heard.append(rows))
    catalog.put_item(Item("a"))
    catalog.notify()
    assert heard == [(0,)]


def test_vectors_are_kept_by_version(catalog: InMemoryCatalog) -> None:
    catalog.put_item(Item("a"))
    catalog.put_item(Item("b"))
    catalog.put_vector(1, "a", floats(1, 0), b"h1")
    catalog.put_vector(2, "b", floats(0, 1, 0), b"h2")
    assert list(catalog.versions) == [1, 2]
    assert catalog.vector(1, "a") is not None and catalog.vector(2, "a") is None
    assert catalog.vectors(1, np.array([0, 1, 0])).tolist() == [[1, 0], [0, 0], [1, 0]]
    assert catalog.has_vector(1).tolist() == [True, False] and catalog.has_vector(3).tolist() == [
        False,
        False,
    ]
    assert catalog.content_hash(2, "b") == b"h2" and catalog.content_hash(2, "a") is None
    assert catalog.vectors(9, np.array([0])).shape == (1, 0)
    catalog.remove_vector(1, "a")
    assert list(catalog.versions) == [2] and catalog.vector(1, "a") is None


def test_only_the_newest_versions_are_held(catalog: InMemoryCatalog) -> None:
    for version in (3, 1, 2, 1):
        catalog.put_vector(version, "a", floats(version))
    assert catalog.versions == (2, 3)


def test_a_search_without_vectors_finds_nothing_and_a_bad_query_is_an_error(catalog: InMemoryCatalog) -> None:
    catalog.put_item(Item("a"))
    assert len(catalog.search(1, floats(1, 2), 5, catalog.eligible(NOW))[0]) == 0
    catalog.put_vector(1, "a", floats(1, 2))
    with pytest.raises(ValueError, match="wide"):
        catalog.search(1, floats(1, 2, 3), 5, catalog.eligible(NOW))
    with pytest.raises(ValueError, match="finite"):
        catalog.search(1, floats(np.nan, 2), 5, catalog.eligible(NOW))
    with pytest.raises(ValueError, match="wide"):
        catalog.search_many(1, np.ones((2, 3), np.float32), [1, 1], catalog.eligible(NOW))
    with pytest.raises(ValueError, match="counts"):
        catalog.search_many(1, np.ones((2, 2), np.float32), [1], catalog.eligible(NOW))
    assert len(catalog.search_many(9, np.ones((2, 2), np.float32), [1, 1], catalog.eligible(NOW))) == 2


def test_a_mask_older_than_the_newest_items_still_works_in_a_search(catalog: InMemoryCatalog) -> None:
    catalog.put_item(Item("a"))
    catalog.put_vector(1, "a", floats(1))
    mask = catalog.eligible(NOW)
    for i in range(100):
        catalog.put_item(Item(f"n{i}"))
        catalog.put_vector(1, f"n{i}", floats(2))
    assert catalog.search(1, floats(1), 10, mask)[0].tolist() == [0]


@pytest.mark.parametrize(
    ("topic", "key", "value"),
    [
        ("items", b"b", item_pb2.Item(item_id="a").SerializeToString()),
        ("items", None, None),
        ("items", b"\xae\xff", None),
        ("item-vectors", b"a", b""),
        ("item-vectors", b"x/a", b""),
        ("item-vectors", b"1/", None),
        ("item-vectors", None, b""),
        ("item-vectors", b"1/a", b"\xff"),
        ("item-vectors", b"1/a", b""),
        ("item-vectors", b"1/a", catalog_pb2.ItemVector(vector=b"12345").SerializeToString()),
        (
            "item-vectors",
            b"1/a",
            catalog_pb2.ItemVector(vector=floats(np.inf, 1).tobytes()).SerializeToString(),
        ),
        (
            "item-vectors",
            b"1/a",
            catalog_pb2.ItemVector(vector=floats(1, 2, 3).tobytes()).SerializeToString(),
        ),
        ("item-stats", b"0/a", b"\xff"),
        ("item-stats", b"0/a", catalog_pb2.ItemStats(days=[1, 2], day_counts=[3]).SerializeToString()),
        ("item-stats", b"a", b""),
        ("item-stats", b"-1/a", b""),
        ("item-stats", b"0/", b""),
        ("item-stats", b"0/" + b"x" * 257, b""),
    ],
)
def test_a_bad_record_changes_nothing(
    catalog: InMemoryCatalog, topic: str, key: bytes | None, value: bytes | None
) -> None:
    catalog.put_item(Item("a", "A"))
    catalog.put_vector(1, "a", floats(1, 2))
    with pytest.raises(BadRecord):
        appliers(catalog, Topics())[topic](Record(key, value))
    assert catalog.item(0) == Item("a", "A") and catalog.vectors(1, np.array([0])).tolist() == [[1, 2]]
    assert catalog.positives.tolist()[0] == 0


def test_an_id_with_a_slash_can_have_a_vector(catalog: InMemoryCatalog) -> None:
    value = catalog_pb2.ItemVector(vector=floats(1, 2).tobytes(), content_hash=b"h").SerializeToString()
    appliers(catalog, Topics())["item-vectors"](Record(vector_key(7, "a/b"), value))
    assert catalog.content_hash(7, "a/b") == b"h"
    appliers(catalog, Topics())["item-vectors"](Record(vector_key(7, "a/b"), None))
    assert catalog.vector(7, "a/b") is None


def test_statistics_of_an_item_are_the_sum_over_partitions_and_may_be_removed(
    catalog: InMemoryCatalog,
) -> None:
    apply = appliers(catalog, Topics())["item-stats"]
    three = catalog_pb2.ItemStats(positives=3, hours=[catalog_pb2.HourBucket(hour=NOW // HOUR_MS, count=3)])
    apply(Record(stats_key(0, "a/b"), three.SerializeToString()))
    apply(Record(stats_key(0, "a/b"), three.SerializeToString()))
    apply(Record(stats_key(5, "a/b"), three.SerializeToString()))
    assert catalog.positives.tolist() == [6]
    assert catalog.popularity(NOW // HOUR_MS * HOUR_MS, 3600).tolist() == [6]
    apply(Record(stats_key(0, "a/b"), None))
    assert catalog.positives.tolist() == [3]
    apply(Record(stats_key(5, "a/b"), None))
    assert catalog.positives.tolist() == [0]


def test_a_vector_that_is_too_wide_is_refused_and_takes_no_memory() -> None:
    """One record of a megabyte, as the first of its version in a large catalogue, asked for a million times as much."""
    catalog = InMemoryCatalog(CatalogSettings())
    for number in range(2000):
        catalog.put_item(Item(f"i{number}"))
    with pytest.raises(BadRecord, match="the limit is 8192"):
        catalog.put_vector(1, "i1999", np.ones(250_000, np.float32))
    assert catalog.versions == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
item_fields = st.sampled_from(
    ["item_id", "title", "categories", "attributes", "media", "expires_at", "published_at", "withdrawn", "x"]
)
json_items = st.dictionaries(item_fields, json_values, max_size=5).map(
    lambda found: json.dumps(found).encode()
)
stats_values = st.builds(
    catalog_pb2.ItemStats,
    positives=st.integers(-(2**63), 2**63 - 1),
    days=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    day_counts=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
).map(lambda stats: stats.SerializeToString())
record_keys = st.none() | st.binary(max_size=8) | st.sampled_from([b"a", b"1/a", b"0/a", b"999999999/a"])
record_values = st.none() | st.binary(max_size=40) | json_values.map(lambda v: json.dumps(v).encode())


@given(record_keys, record_values | json_items | stats_values)
def test_a_record_is_applied_or_refused_whatever_it_holds(key: bytes | None, value: bytes | None) -> None:
    """PostHog 70039: JSON that is no object passed the parser, and wedged the partition in the next line."""
    catalog = InMemoryCatalog(CatalogSettings())
    with np.errstate(over="ignore"):  # counts that nobody can have
        for apply in appliers(catalog, Topics("")).values():
            with contextlib.suppress(BadRecord):
                apply(Record(key, value))
        catalog.popularity(NOW, 86_400)
