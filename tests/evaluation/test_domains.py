"""Queries about a pool of items, samples of queries, and lists in random order."""

import numpy as np
import pytest

from evaluation.errors import NothingToMeasure
from evaluation.metrics.measure import measure
from evaluation.protocols.cold import Pooled
from evaluation.protocols.domains import Chance, about, only, some
from evaluation.protocols.split import split
from tests.evaluation.world import crowd, known

EVENTS = known(crowd(users=80, items=40))


def test_queries_about_a_pool_have_their_targets_in_it() -> None:
    whole = split(EVENTS, "next-item")
    pool = np.arange(10)
    found = about(whole, pool)
    assert 0 < len(found.queries) < len(whole.queries)
    assert all(np.isin(items, pool).all() for items in found.relevant)
    assert len(found.queries) == sum(np.isin(items, pool).all() for items in whole.relevant)
    with pytest.raises(NothingToMeasure, match="has its targets among 0 items"):
        about(whole, np.zeros(0, np.int64))


def test_selected_queries_keep_histories_and_consumed_items() -> None:
    whole = split(EVENTS, "cold-items")
    positions = np.array([3, 1])
    found = only(whole, positions)
    for new, old in enumerate(positions.tolist()):
        assert found.queries.users[new] == whole.queries.users[old]
        assert np.array_equal(found.queries.before[new], whole.queries.before[old])
        assert np.array_equal(found.consumed(new), whole.consumed(old))
        assert np.array_equal(found.relevant[new], whole.relevant[old])


def test_a_sample_of_queries_is_deterministic_and_in_order() -> None:
    whole = split(EVENTS, "next-item")
    one, other = some(whole, 20), some(whole, 20)
    assert len(one.queries) == 20 and np.array_equal(one.queries.time_ms, other.queries.time_ms)
    assert (np.diff(one.queries.time_ms) >= 0).all()
    assert some(whole, 10**6) is whole


def test_chance_is_what_a_random_order_reaches() -> None:
    whole = split(EVENTS, "next-item")
    pool = np.arange(15)
    found = about(whole, pool)
    hits = measure(found, Pooled(Chance(len(EVENTS.item_ids)), pool)).figure("hr@10")
    free = np.array([15 - len(set(found.consumed(place)) & set(pool)) for place in range(len(found.queries))])
    assert np.allclose(hits, np.minimum(1, 10 / free))
