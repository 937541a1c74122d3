"""Batches have every window once, and little padding if histories are short."""

import numpy as np
import pytest

from models.data.windows import Window, drop_cold_targets, shuffled_batches


def windows(lengths: list[int]) -> list[Window]:
    return [Window(np.arange(length), 0, np.zeros(0, np.int64)) for length in lengths]


@pytest.mark.parametrize("lengths", [[3] * 400 + [96] * 7, [60, 80, 96] * 50, [5], []])
def test_every_window_is_in_one_batch(lengths: list[int]) -> None:
    given = windows(lengths)
    found = shuffled_batches(given, 16, np.random.default_rng(0))
    assert sorted(id(window) for batch in found for window in batch) == sorted(map(id, given))
    assert all(len(batch) <= 16 for batch in found) and len(found) == -(-len(given) // 16)


def test_short_windows_share_batches_in_another_order_each_time() -> None:
    given = windows([3] * 400 + [96] * 16)
    rng = np.random.default_rng(0)
    first, second = shuffled_batches(given, 16, rng), shuffled_batches(given, 16, rng)
    padded = sum(len(batch) * max(len(window.events) for window in batch) for batch in first)
    assert padded == 3 * 400 + 96 * 16
    assert [list(map(id, batch)) for batch in first] != [list(map(id, batch)) for batch in second]
    long = [place for place, batch in enumerate(first) if len(batch[0].events) == 96]
    assert len(long) == 1 and long != [len(first) - 1]  # not always last


def test_no_target_is_without_an_event_before_it() -> None:
    empty = np.zeros(0, np.int64)
    given = [Window(np.arange(3), 0, empty), Window(np.arange(1), 0, empty), Window(np.arange(9), 5, empty)]
    assert [(len(window.events), window.first_target) for window in drop_cold_targets(given)] == [
        (3, 1),
        (9, 5),
    ]
