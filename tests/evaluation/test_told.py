"""What a running product would have been told, lists that were made elsewhere, and some of the asks."""

import numpy as np
import pytest

from evaluation.methods.listed import Listed, sampled
from evaluation.metrics.measure import measure
from evaluation.protocols.parts import PROTOCOLS, Protocol
from evaluation.protocols.split import Split, split
from evaluation.protocols.visible import told
from evaluation.report.results import RowOf, result
from tests.evaluation.world import crowd, known


@pytest.fixture(params=PROTOCOLS)
def test_split(request: pytest.FixtureRequest) -> Split:
    protocol: Protocol = request.param
    return split(known(crowd()), protocol)


def test_what_is_to_be_found_is_told_in_next_item_alone(test_split: Split) -> None:
    found = told(test_split)
    assert found[test_split.training].all()
    for rows in test_split.asks.before:
        assert found[rows].all()
    targets = test_split.asks.visible[0] if test_split.name == "future" else None
    if test_split.name == "next-item":
        assert found.all()
    elif test_split.name == "future":
        assert not found[targets:].any() and found[:targets].all()
    else:
        pairs = {
            (user, item)
            for user, items in zip(test_split.asks.users.tolist(), test_split.relevant, strict=True)
            for item in items.tolist()
        }
        rows = np.flatnonzero(found)
        events = test_split.known
        assert not pairs & set(zip(events.users[rows].tolist(), events.items[rows].tolist(), strict=True))


def test_who_is_not_asked_for_is_known_by_what_was_learned_alone() -> None:
    whole = split(known(crowd()), "leave-one-out")
    one = sampled(whole, 1)
    others = one.known.users != one.asks.users[0]
    np.testing.assert_array_equal(told(one)[others], one.training[others])


@pytest.mark.parametrize("count", [1, 2, 7, 10_000])
def test_a_sample_is_spread_over_the_whole_time_in_its_order(test_split: Split, count: int) -> None:
    some = sampled(test_split, count)
    assert len(some.asks) == len(some.relevant) == min(count, len(test_split.asks))
    keys = list(zip(test_split.asks.users.tolist(), test_split.asks.visible.tolist(), strict=True))
    places = [
        keys.index(key) for key in zip(some.asks.users.tolist(), some.asks.visible.tolist(), strict=True)
    ]
    assert places == sorted(set(places)) and places[0] == 0
    assert count == 1 or places[-1] == len(keys) - 1
    gaps = np.diff(places)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    for place, own in enumerate(places):
        np.testing.assert_array_equal(some.relevant[place], test_split.relevant[own])
        np.testing.assert_array_equal(some.asks.before[place], test_split.asks.before[own])
        np.testing.assert_array_equal(some.taken(place), test_split.taken(own))
        assert some.asks.time_ms[place] == test_split.asks.time_ms[own]


def test_lists_that_were_made_elsewhere_are_judged_by_their_order(test_split: Split) -> None:
    free = [np.setdiff1d(np.arange(30), test_split.taken(place)) for place in range(len(test_split.asks))]
    others = [np.setdiff1d(items, wanted) for items, wanted in zip(free, test_split.relevant, strict=True)]
    third = [
        np.concatenate([other[:2], wanted[:1], other[2:9]])
        for other, wanted in zip(others, test_split.relevant, strict=True)
    ]
    measured = measure(test_split, Listed("elsewhere", test_split, third))
    whole = np.array([len(other) >= 2 for other in others])
    assert (measured.figure("hr@10") == 1).all()
    np.testing.assert_allclose(measured.figure("mrr@10")[whole], 1 / 3)
    nothing = measure(test_split, Listed("elsewhere", test_split, others))
    assert not nothing.figure("hr@20").any()
    empty = measure(test_split, Listed("elsewhere", test_split, [items[:0] for items in free]))
    assert not empty.figures.any() and empty.coverage == 0


def test_there_is_a_list_for_each_ask(test_split: Split) -> None:
    with pytest.raises(ValueError, match="zip"):
        Listed("elsewhere", test_split, [np.array([1])])


def test_figures_past_the_end_of_the_lists_are_not_known(test_split: Split) -> None:
    lists = [items[:10] for items in test_split.relevant]
    measured = measure(test_split, Listed("elsewhere", test_split, lists))
    row, whole = result(
        test_split, [RowOf(measured, reference=False, listed=10), RowOf(measured, reference=False)]
    ).rows
    names = {name for name in whole.figures if not name.endswith("@20")}
    assert set(row.figures) == set(row.intervals) == names < set(whole.figures)
    assert row.figures["ndcg@10"] == whole.figures["ndcg@10"] and "hr@20" not in row.as_dict()
