"""Ages of items by the time of their publication."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catalog.items.publication import UNKNOWN_MS, age_seconds
from ranking.sources.fresh import is_fresh

YEARS_1_TO_9999 = st.integers(-62_135_596_800_000, 253_402_300_799_999)


@given(st.lists(st.none() | YEARS_1_TO_9999, max_size=5), YEARS_1_TO_9999, st.floats(0, 1e300))
def test_an_age_is_the_distance_to_now_whatever_the_year(
    times: list[int | None], now_ms: int, days: float
) -> None:
    published = np.array([UNKNOWN_MS if time is None else time for time in times], np.int64)
    with warnings.catch_warnings(action="error"):
        ages, fresh = age_seconds(published, now_ms), is_fresh(published, now_ms, days)
    expected = [-1 if time is None else max(0, now_ms - time) / 1000 for time in times]
    assert ages.dtype == np.float32 and ages.tolist() == np.array(expected, np.float32).tolist()
    assert fresh.tolist() == [
        time is not None and time <= now_ms and now_ms - time < days * 86_400_000 for time in times
    ]


def test_ages_of_items_at_several_moments_have_a_row_for_each() -> None:
    ages = age_seconds(np.array([-1000, UNKNOWN_MS, 5000], np.int64), np.array([[0], [6000]], np.int64))
    assert ages.tolist() == [[1, -1, 0], [7, -1, 1]]
