"""The arithmetic of statistics, for one item and for all rows at once."""

import math
import random
import subprocess
import sys
from collections import Counter
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.popularity.popularity import Popularity
from catalog.popularity.stats import HOUR_MS, MAX_DAYS, MAX_HOURS, add, decayed, hour_of, merged
from recstream.storage.v1 import catalog_pb2

NOW = 1_700_000_000_000
NOW_HOUR = NOW // HOUR_MS
DAY_MS = 24 * HOUR_MS
Events: TypeAlias = list[tuple[int, int]]
"""Hours and numbers of positive events."""
EVENTS = st.lists(st.tuples(st.integers(NOW_HOUR - 24 * 300, NOW_HOUR), st.integers(1, 5)), max_size=150)


def runs_of_days(runs: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    return [
        (NOW_HOUR - 24 * (first - day) - hour, count)
        for first, days, hour, count in runs
        for day in range(days)
    ]


RUNS = st.tuples(st.integers(0, 500), st.integers(1, 300), st.integers(0, 23), st.integers(1, 5))
YEARS = st.lists(RUNS, max_size=4).map(runs_of_days)
"""Events in more hours and on more days than are kept."""


def fold(events: list[tuple[int, int]]) -> catalog_pb2.ItemStats:
    stats = catalog_pb2.ItemStats()
    for hour, count in events:
        stats = add(stats, {hour: count})
    return stats


def expected(events: list[tuple[int, int]]) -> catalog_pb2.ItemStats:
    """The statistics, computed from their definition."""
    hours: Counter[int] = Counter()
    for hour, count in events:
        hours[hour] += count
    newest = sorted(hours)[-MAX_HOURS:]
    days: Counter[int] = Counter()
    for hour in hours.keys() - set(newest):
        days[hour // 24] += hours[hour]
    kept = sorted(days)[-MAX_DAYS:]
    return catalog_pb2.ItemStats(
        positives=hours.total(),
        hours=[catalog_pb2.HourBucket(hour=hour, count=hours[hour]) for hour in newest],
        days=kept,
        day_counts=[days[day] for day in kept],
    )


@given(EVENTS | YEARS, st.randoms(use_true_random=False))
def test_the_newest_hours_are_kept_and_older_ones_summed_by_day_in_any_order(
    events: list[tuple[int, int]], shuffler: random.Random
) -> None:
    shuffler.shuffle(events)
    assert fold(events).SerializeToString() == expected(events).SerializeToString()


@given(YEARS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_merged_statistics_equal_those_counted_together(
    events: list[tuple[int, int]], parts: int, shuffler: random.Random
) -> None:
    shuffler.shuffle(events)
    apart = [fold(events[part::parts]) for part in range(parts)]
    assert merged(apart) == merged([merged(apart[:2]), *apart[2:]]) == expected(events)


@given(YEARS, st.integers(1, 200))
def test_adding_many_hours_at_once_equals_adding_them_one_by_one(
    events: list[tuple[int, int]], size: int
) -> None:
    stats = catalog_pb2.ItemStats()
    for start in range(0, len(events), size):
        batch: Counter[int] = Counter()
        for hour, count in events[start : start + size]:
            batch[hour] += count
        stats = add(stats, batch)
    assert stats == expected(events)


def test_decayed_statistics_of_a_busy_item_are_within_two_percent_of_the_exact_sum() -> None:
    rng = np.random.default_rng(4)
    times = NOW - (rng.random(10_000) * 200 * DAY_MS).astype(np.int64)
    stats = fold([(hour_of(int(time)), 1) for time in rng.permutation(times)])
    for days in (3, 14, 90):
        exact = (2.0 ** ((times - NOW) / (days * DAY_MS))).sum()
        assert decayed(stats, NOW, days * 86_400) == pytest.approx(exact, rel=0.02)


def test_statistics_written_without_days_are_read_and_continued() -> None:
    hours = [catalog_pb2.HourBucket(hour=NOW_HOUR - 64 + n, count=2) for n in range(MAX_HOURS)]
    old = catalog_pb2.ItemStats(positives=1000, hours=hours)
    assert decayed(old, NOW, 86_400) > 0
    now = add(old, {NOW_HOUR: 1})
    assert (now.positives, list(now.days), list(now.day_counts)) == (1001, [(NOW_HOUR - 64) // 24], [2])


def test_adding_leaves_the_argument_as_it_is() -> None:
    before = fold([(5, 1)])
    add(before, {6: 1})
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


def test_hours_before_1970_are_negative() -> None:
    assert hour_of(-1) == -1


@given(st.lists(EVENTS, min_size=1, max_size=8), st.lists(st.integers(0, 60 * 24), min_size=1, max_size=6))
def test_popularity_of_all_rows_equals_that_of_each_row_at_any_later_time(
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


@given(
    st.lists(
        st.tuples(st.integers(-60, 400), st.integers(0, 4), st.integers(-3, 30)), min_size=1, max_size=20
    ),
    st.sampled_from([1, 24, 14 * 24]),
)
@example(turns=[(0, 0, 10), (-1, 1, 0)], half_life_hours=1)
def test_events_after_the_first_reading_are_weighted_by_their_age(
    turns: list[tuple[int, int, int]], half_life_hours: int
) -> None:
    """In each turn the time changes (a query may also name an earlier moment), an event of about that time arrives, and
    everything is read."""
    popularity = Popularity(reuse_ms=0)
    half_life, hour = half_life_hours * 3600.0, NOW_HOUR
    stats = [fold([(NOW_HOUR, 1)]) for _ in range(5)]
    for row, each in enumerate(stats):
        popularity.put(row, each)
    for passed, row, ahead in turns:
        popularity.decayed(hour * HOUR_MS, half_life, 5)
        hour += passed
        stats[row] = add(stats[row], {hour + ahead // 10: 1})
        popularity.put(row, stats[row])
        for moment in (hour, hour + 1):
            wanted = [decayed(each, moment * HOUR_MS, half_life) for each in stats]
            np.testing.assert_allclose(
                popularity.decayed(moment * HOUR_MS, half_life, 5), wanted, rtol=1e-5, atol=1e-30
            )


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), EVENTS), min_size=1, max_size=12),
    st.sampled_from([3, 14, 90]),
)
def test_the_partitions_of_a_row_add_up_and_may_change_separately(
    puts: list[tuple[int, int, list[tuple[int, int]]]], half_life_days: int
) -> None:
    read_between, read_at_the_end = Popularity(reuse_ms=0), Popularity(reuse_ms=0)
    parts: dict[tuple[int, int], catalog_pb2.ItemStats] = {}
    for row, partition, events in puts:
        parts[row, partition] = fold(events)
        for popularity in (read_between, read_at_the_end):
            popularity.put(row, parts[row, partition], partition)
        read_between.decayed(NOW, half_life_days * 86_400, 5)
    later = NOW + DAY_MS
    wanted, positives = np.zeros(5), [0] * 5
    for (row, _), stats in parts.items():
        wanted[row] += decayed(stats, later, half_life_days * 86_400)
        positives[row] += stats.positives
    for popularity in (read_between, read_at_the_end):
        np.testing.assert_allclose(popularity.decayed(later, half_life_days * 86_400, 5), wanted, rtol=1e-5)
        assert popularity.positives(5).tolist() == positives


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_the_most_popular_rows_have_the_highest_counts_and_then_the_lowest_ties(
    counts: list[int], count: int, chooser: random.Random
) -> None:
    popularity = Popularity(reuse_ms=1000)
    ties = chooser.sample(range(len(counts)), len(counts))
    for row, events in enumerate(counts):
        popularity.put(row, fold([(NOW_HOUR, events)]))
    popularity.decayed(NOW, 86_400, len(counts))
    for rows in (len(counts) // 2, len(counts)):
        mask = np.array([chooser.random() < 0.7 for _ in range(rows)], np.bool_)
        wanted = sorted(np.flatnonzero(mask).tolist(), key=lambda row: (-counts[row], ties[row]))[:count]
        assert popularity.most(NOW, 86_400, mask, count, np.array(ties, np.uint64)).tolist() == wanted


def test_the_most_popular_rows_are_found_beyond_the_leaders_too() -> None:
    popularity = Popularity(reuse_ms=1000)
    for row in range(6000):
        popularity.put(row, fold([(NOW_HOUR, 6000 - row)]))
    mask = np.arange(6000) >= 4090
    ties = np.zeros(6000, np.uint64)
    assert popularity.most(NOW, 86_400, mask, 5, ties).tolist() == list(range(4090, 4095))
    assert popularity.most(NOW, 86_400, mask, 50, ties).tolist() == list(range(4090, 4140))
    assert popularity.most(NOW, 86_400, mask, 5000, ties).tolist() == list(range(4090, 6000))


def test_without_recent_events_all_past_events_decide() -> None:
    popularity = Popularity(reuse_ms=0)
    for row, events in enumerate((0, 5, 9)):
        popularity.put(row, fold([(NOW_HOUR - 24 * 3000, events)]))
    assert popularity.most(NOW, 3600, np.ones(3, np.bool_), 3, np.zeros(3, np.uint64)).tolist() == [2, 1, 0]


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


def test_popularity_is_reused_for_the_configured_time_and_no_longer() -> None:
    popularity = Popularity(reuse_ms=1000)
    popularity.put(0, fold([(NOW_HOUR, 1)]))
    first = popularity.decayed(NOW, 3600, 1)
    popularity.put(0, fold([(NOW_HOUR, 2)]))
    assert popularity.decayed(NOW + 999, 3600, 1)[0] == first[0]
    assert popularity.decayed(NOW + 1000, 3600, 1)[0] > 1.9 * first[0]
    assert popularity.decayed(NOW, 3600, 1)[0] > 1.9 * first[0], "a clock that went back does not freeze them"


def test_nothing_is_imported_while_popularity_is_read() -> None:
    """An import would block the event loop, so everything that is used must be loaded before."""
    script = """
import sys
import numpy as np
from catalog.popularity.popularity import Popularity
from recstream.storage.v1.catalog_pb2 import HourBucket, ItemStats

popularity = Popularity(reuse_ms=0)
loaded = set(sys.modules)
for round in range(3):
    for row in range(5):
        for partition in range(2):
            hours = [HourBucket(hour=490000 + round, count=1)]
            popularity.put(row, ItemStats(positives=round + 1, hours=hours), partition)
    popularity.decayed(490003 * 3600000, 3600.0, 5)
    popularity.most(490003 * 3600000, 3600.0, np.ones(5, np.bool_), 3, np.zeros(5, np.uint64))
print(sorted(set(sys.modules) - loaded))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
