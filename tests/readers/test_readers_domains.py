"""Data sets of several domains: small subsets, id namespaces, aligned timestamps."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from readers.errors import UnreadableFile
from readers.interactions.interactions import Interactions
from readers.packaged import completejourney
from readers.packaged.domains import cut_time_ms, joined, namespaced, namespaced_items, shifted_to
from readers.packaged.subset import subset
from recstream.v1 import item_pb2


def rows(*events: tuple[str, str, int]) -> Interactions:
    """Views: (user, item, time)."""
    users, items, times = zip(*events, strict=True)
    return Interactions.of(users, items, ["view"] * len(events), np.array(times, np.int64))


def listed(found: Interactions) -> list[tuple[str, str, int]]:
    return list(zip(found.user_ids, found.item_ids, found.time_ms.tolist(), strict=True))


def test_a_subset_has_the_latest_events_of_some_users_on_the_items_popular_before_them() -> None:
    early = [("a", "often", 1), ("b", "often", 2), ("b", "rare", 3)]
    late = [("a", "rare", 4), ("a", "often", 5), ("a", "new", 6)]
    everybody = rows(*early, *late)
    assert listed(subset(everybody, users=2, items=1, events=3)) == [("a", "often", 5)]
    assert listed(subset(everybody, users=2, items=2, events=3)) == late[:2]
    # No earlier events are left to count popularity by.
    assert listed(subset(everybody, users=2, items=1, events=6)) == [*early, *late]


def test_the_sample_of_users_does_not_depend_on_other_rows() -> None:
    names = [f"u{number}" for number in range(50)]
    every = rows(*((name, "x", position) for position, name in enumerate(names)))
    some = set(subset(every, users=20, items=1, events=99).user_ids)
    turned = rows(*((name, "x", position) for position, name in enumerate(reversed(names))))
    assert len(some) == 20 and set(subset(turned, users=20, items=1, events=99).user_ids) == some
    assert set(subset(every, users=20, items=1, events=99, seed=1).user_ids) != some


def test_equal_ids_of_two_domains_stay_distinct() -> None:
    films, food = (namespaced(rows(("1", "1", 5), ("2", "1", 9)), name) for name in ("films", "food"))
    found = joined([films, food])
    assert set(found.user_ids) == {"films:1", "films:2", "food:1", "food:2"}
    assert [found.item_ids[row] for row in range(4)] == ["films:1", "food:1", "films:1", "food:1"]
    assert found.time_ms.tolist() == [5, 5, 9, 9] and found.ties.tolist() == [0, 1, 2, 3]
    item = item_pb2.Item(item_id="1", title="Bread", domain="shop")
    (copy,) = namespaced_items([item], "food")
    assert (copy.item_id, copy.domain, copy.title, item.item_id) == ("food:1", "food", "Bread", "1")


def test_data_sets_of_different_years_are_cut_at_one_timestamp() -> None:
    old = rows(*(("a", "x", position) for position in range(10)))
    new = rows(*(("a", "x", 5_000 + 7 * position) for position in range(20)))
    moved = shifted_to(old, 0.9, cut_time_ms(new, 0.9))
    cut = cut_time_ms(new, 0.9)
    assert (moved.time_ms < cut).sum() == 9 and (new.time_ms < cut).sum() == 18
    assert np.array_equal(np.diff(moved.time_ms), np.diff(old.time_ms))


def test_purchases_are_read_from_the_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTREAM_COMPLETEJOURNEY", str(tmp_path))
    baskets = {
        "household_id": [7, 7, 8], "basket_id": [1, 1, 2], "product_id": [10, 11, 10], "quantity": [1, 2, 1],
        "transaction_timestamp": pa.array([1_483_275_206_000, 1_483_275_207_000, 1_483_275_300_000],
                                          pa.timestamp("ms")),
    }  # fmt: skip
    pq.write_table(pa.table(baskets), tmp_path / "transactions.parquet")
    products = {
        "product_id": [10, 11], "manufacturer_id": [2, 69], "department": ["PASTRY", "GROCERY"],
        "brand": ["Private", "National"], "product_category": ["BREAD", None], "product_type": ["RYE BREAD", "ICE"],
        "package_size": [None, "22 LB"],
    }  # fmt: skip
    pq.write_table(pa.table(products), tmp_path / "products.parquet")
    found = completejourney.interactions()
    assert listed(found)[2] == ("8", "10", 1_483_275_300_000)
    # A basket has one time.
    assert found.time_ms.tolist()[:2] == [1_483_275_206_000] * 2 and set(found.actions) == {"purchase"}
    bread, ice = completejourney.items()
    assert bread.title == "RYE BREAD" and list(bread.categories) == ["PASTRY", "BREAD"]
    attributes = {name: list(found.texts) for name, found in ice.attributes.items()}
    assert attributes == {"brand": ["National"], "package_size": ["22 LB"]} and ice.domain == "grocery"


def test_the_error_names_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSTREAM_COMPLETEJOURNEY", raising=False)
    monkeypatch.setattr(completejourney, "INSIDE", Path("nowhere"))
    with pytest.raises(UnreadableFile, match="make groceries"):
        completejourney.folder()
