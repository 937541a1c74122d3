"""Pauses between tries."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recstream.client import Backoff
from recstream.client.backoff import LONGEST_REQUESTED_DELAY

BACKOFFS = st.builds(
    lambda initial, factor, multiplier: Backoff(initial, initial * factor, multiplier),
    st.floats(0.001, 10),
    st.floats(1, 1000),
    st.floats(1, 10),
)


@given(BACKOFFS, st.integers(0, 100_000), st.integers())
def test_a_pause_is_positive_and_below_its_ceiling(backoff: Backoff, attempt: int, seed: int):
    delay = backoff.delay(attempt, source=random.Random(seed))
    assert 0 < delay <= backoff.ceiling(attempt) <= backoff.maximum


@given(BACKOFFS, st.integers(0, 200))
def test_ceilings_never_fall(backoff: Backoff, attempt: int):
    assert backoff.ceiling(attempt) <= backoff.ceiling(attempt + 1)


@given(BACKOFFS, st.integers(0, 200), st.floats(-1e9, 1e9), st.integers())
def test_the_requested_delay_is_a_minimum_within_reason(
    backoff: Backoff, attempt: int, requested: float, seed: int
):
    delay = backoff.delay(attempt, requested, random.Random(seed))
    least = min(max(requested, 0), LONGEST_REQUESTED_DELAY)
    assert least <= delay <= least + backoff.maximum


def test_clients_that_lost_the_same_server_do_not_return_at_once():
    delays = [Backoff(initial=1, maximum=1).delay(0, 5.0, random.Random(seed)) for seed in range(100)]
    assert max(delays) - min(delays) > 0.8


@pytest.mark.parametrize("wrong", [(0, 1, 2), (2, 1, 2), (1, 2, 0.5)])
def test_an_impossible_back_off_is_refused(wrong: tuple[float, float, float]):
    with pytest.raises(ValueError, match="back-off"):
        Backoff(*wrong)
