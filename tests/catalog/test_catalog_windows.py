"""Positive events in a window of time: whole hours, and whole days before the hours that are kept."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catalog.popularity.popularity import Popularity
from catalog.popularity.stats import DAY_HOURS, MAX_HOURS, MAX_WINDOW_DAYS, add, counted
from recstream.storage.v1 import catalog_pb2
from tests.catalog.test_catalog_stats import EVENTS, NOW_HOUR, YEARS, Events

LONGEST = MAX_WINDOW_DAYS * DAY_HOURS
WINDOWS = st.integers(1, LONGEST) | st.sampled_from([1, 24, 62, 7 * 24, 30 * 24, LONGEST])


PAST = (EVENTS | YEARS).map(lambda events: [each for each in events if each[0] <= NOW_HOUR])


def stats_of(events: Events) -> catalog_pb2.ItemStats:
    by_hour: Counter[int] = Counter()
    for hour, count in events:
        by_hour[hour] += count
    return add(catalog_pb2.ItemStats(), by_hour)


def naive(events: Events, first_hour: int) -> int:
    return sum(count for hour, count in events if hour >= first_hour)


@given(PAST, WINDOWS)
def test_a_window_counts_hours_exactly_and_older_events_by_the_noon_of_their_day(
    events: Events, hours: int
) -> None:
    first = NOW_HOUR - hours
    by_hour = set(sorted({hour for hour, _ in events})[-MAX_HOURS:])
    wanted = sum(
        count
        for hour, count in events
        if (hour if hour in by_hour else hour // DAY_HOURS * DAY_HOURS + 12) >= first
    )
    assert counted(stats_of(events), first) == wanted


@given(PAST, WINDOWS)
def test_a_window_is_the_sum_over_its_events_within_half_a_day(events: Events, hours: int) -> None:
    first = NOW_HOUR - hours
    assert naive(events, first + 12) <= counted(stats_of(events), first) <= naive(events, first - 12)


@given(
    st.lists(st.tuples(st.integers(NOW_HOUR - 100, NOW_HOUR + 1), st.integers(1, 5)), max_size=200),
    st.integers(1, 62),
)
def test_a_window_of_up_to_62_hours_is_the_sum_over_its_events(events: Events, hours: int) -> None:
    assert counted(stats_of(events), NOW_HOUR - hours) == naive(events, NOW_HOUR - hours)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 2), EVENTS, st.lists(WINDOWS, max_size=3)),
        min_size=1,
        max_size=12,
    )
)
def test_windows_of_all_rows_equal_the_sums_of_their_partitions_after_every_change(
    turns: list[tuple[int, int, Events, list[int]]],
) -> None:
    """In each turn a partition of a row changes, and windows are read: new ones, and those that were read before."""
    popularity = Popularity(reuse_ms=0)
    parts: dict[tuple[int, int], catalog_pb2.ItemStats] = {}
    read = [24]
    for row, partition, events, hours in turns:
        parts[row, partition] = stats_of(events)
        popularity.put(row, parts[row, partition], partition)
        read = [*read, *hours][-10:]
        for first in (NOW_HOUR - each for each in read):
            wanted = np.zeros(5)
            for (other, _), stats in parts.items():
                wanted[other] += counted(stats, first)
            assert popularity.counted(first, 5).tolist() == wanted.tolist()
