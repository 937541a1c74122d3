"""The arithmetic of statistics, and its form over all rows at once."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.popularity import Popularity
from catalog.stats import HOUR_MS, MAX_HOURS, add, decayed, hour_of, merged
from recstream.storage.v1 import catalog_pb2

NOW = 1_700_000_000_000
NOW_HOUR = NOW // HOUR_MS
EVENTS = st.lists(st.tuples(st.integers(NOW_HOUR - 200, NOW_HOUR), st.integers(1, 5)), max_size=150)


def fold(events: list[tuple[int, int]]) -> catalog_pb2.ItemStats:
    stats = catalog_pb2.ItemStats()
    for hour, count in events:
        stats = add(stats, hour, count)
    return stats


@given(EVENTS)
def test_the_newest_hours_are_counted_whole_and_everything_in_the_total(
    events: list[tuple[int, int]],
) -> None:
    counted: Counter[int] = Counter()
    for hour, count in events:
        counted[hour] += count
    stats = fold(events)
    assert stats.positives == sum(count for _, count in events)
    assert [(b.hour, b.count) for b in stats.hours] == sorted(counted.items())[-MAX_HOURS:]


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(events: list[tuple[int, int]], shuffler: random.Random) -> None:
    shuffled = list(events)
    shuffler.shuffle(shuffled)
    assert fold(shuffled).SerializeToString() == fold(events).SerializeToString()


@given(st.lists(EVENTS, max_size=4))
def test_counted_apart_and_merged_is_counted_together(parts: list[list[tuple[int, int]]]) -> None:
    together = fold([event for part in parts for event in part])
    assert merged([fold(part) for part in parts]) == together


def test_adding_leaves_the_argument_as_it_is() -> None:
    before = fold([(5, 1)])
    add(before, 6, 1)
    assert before == fold([(5, 1)])


def test_an_event_counts_half_after_its_half_life() -> None:
    stats = fold([(NOW_HOUR - 48, 8)])
    assert decayed(stats, NOW_HOUR * HOUR_MS, 86_400) == pytest.approx(2.0)


def test_an_old_burst_is_not_current() -> None:
    assert decayed(fold([(NOW_HOUR - 24 * 30, 100_000)]), NOW, 86_400) < 0.001
    assert decayed(fold([(NOW_HOUR - 24 * 365 * 27, 100_000)]), NOW, 3600) == 0.0


def test_an_hour_far_ahead_weighs_no_more_than_one_an_hour_ahead() -> None:
    ahead = decayed(fold([(NOW_HOUR + 10**9, 1)]), NOW, 3600)
    assert math.isfinite(ahead) and ahead == pytest.approx(2.0)


def test_hours_before_1970_are_hours_too() -> None:
    assert hour_of(-1) == -1


@given(st.lists(EVENTS, min_size=1, max_size=8), st.lists(st.integers(0, 60 * 24), min_size=1, max_size=6))
def test_figures_of_all_rows_are_those_of_each_row_at_any_later_time(
    rows: list[list[tuple[int, int]]], hours_later: list[int]
) -> None:
    popularity = Popularity(reuse_ms=0)
    stats = [fold(events) for events in rows]
    half_life = 36 * 3600.0
    popularity.decayed(NOW, half_life, len(rows))
    for row, each in enumerate(stats):
        popularity.put(row, fold([(NOW_HOUR, 1)]))
        popularity.put(row, each)
    for later in [0, *sorted(hours_later), 24 * 3650]:
        now = NOW + later * HOUR_MS
        wanted = [decayed(each, now, half_life) for each in stats]
        np.testing.assert_allclose(
            popularity.decayed(now, half_life, len(rows)), wanted, rtol=1e-5, atol=1e-30
        )
    assert popularity.positives(len(rows)).tolist() == [each.positives for each in stats]


def test_a_row_without_statistics_counts_nothing() -> None:
    popularity = Popularity(reuse_ms=0)
    popularity.put(3, fold([(NOW_HOUR, 2)]))
    assert popularity.positives(6).tolist() == [0, 0, 0, 2, 0, 0]
    assert np.count_nonzero(popularity.decayed(NOW, 3600, 6)) == 1


def test_many_rows_that_change_at_once_are_all_seen() -> None:
    popularity = Popularity(reuse_ms=0)
    popularity.decayed(NOW, 3600, 1)
    for row in range(3000):
        popularity.put(row, fold([(NOW_HOUR, row % 7)]))
    np.testing.assert_allclose(
        popularity.decayed(NOW_HOUR * HOUR_MS, 3600, 3000), [row % 7 for row in range(3000)], rtol=1e-6
    )


def test_figures_are_used_again_for_a_while_and_not_longer() -> None:
    popularity = Popularity(reuse_ms=1000)
    popularity.put(0, fold([(NOW_HOUR, 1)]))
    first = popularity.decayed(NOW, 3600, 1)
    popularity.put(0, fold([(NOW_HOUR, 2)]))
    assert popularity.decayed(NOW + 999, 3600, 1)[0] == first[0]
    assert popularity.decayed(NOW + 1000, 3600, 1)[0] > 1.9 * first[0]
    assert popularity.decayed(NOW, 3600, 1)[0] > 1.9 * first[0], "a clock that went back does not freeze them"
