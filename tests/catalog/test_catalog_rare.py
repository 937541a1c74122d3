"""Rare items in a large catalogue."""

import numpy as np
import pytest

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from recstream.v1.filter_pb2 import Filter, TextFilter
from tests.catalog.vectors import clustered, exact, merge


def in_categories(*names: str) -> Filter:
    return Filter(text=TextFilter(field="category", values=names))


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_rare_categories_among_120_000_items_are_the_exact_scan() -> None:
    size, width = 120_000, 32
    rng = np.random.default_rng(1)
    data = clustered(rng, size, width)
    catalog = InMemoryCatalog(CatalogSettings(build_threads=2))
    for i in range(size):
        category = "rarest" if i == 7 else "rare" if i % 24_000 == 3 else f"r{i % 4000}"
        catalog.put_item(Item(f"i{i}", categories=(category, "kept" if i % 10_000 == 1 else "common")))
        catalog.put_vector(1, f"i{i}", data[i])
    (index,) = catalog._vectors
    assert merge(index)
    fifty = [f"r{i}" for i in range(100, 150)]
    cases = {
        "rare": (in_categories("rare"), 5),
        "rarest": (in_categories("rarest"), 1),
        "none": (in_categories("none"), 0),
        "a union of 50": (in_categories(*fifty), 1500),
        "all but 0.01 % excluded": (Filter(exclude=in_categories("common")), 12),
    }
    for name, (wanted, matching) in cases.items():
        mask = catalog.matching(wanted, "") & catalog.eligible(0)
        assert mask.sum() == matching, name
        query = -data[rng.integers(size)]
        rows, _ = catalog.search(1, query, 10, mask)
        assert rows.tolist() == exact(data, query, 10, mask), name
    everything = catalog.eligible(0)
    found = sum(
        len(
            set(catalog.search(1, query, 10, everything)[0].tolist())
            & set(exact(data, query, 10, everything))
        )
        for query in data[rng.integers(0, size, 50)] + 0.1
    )
    assert found >= 0.9 * 500
