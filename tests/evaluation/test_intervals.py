"""Bootstrap over users: intervals reflect differences between users, and comparisons are paired."""

import numpy as np

from evaluation.metrics.intervals import Bootstrap


def test_the_interval_reflects_differences_between_users_not_lists() -> None:
    rng = np.random.default_rng(0)
    of_user = rng.normal(0.5, 0.1, 400)
    users = np.repeat(np.arange(400), 25)
    low, high = Bootstrap(users).interval(of_user[users])
    expected = 1.96 * of_user.std() / np.sqrt(400)
    assert abs((high - low) / 2 - expected) < 0.15 * expected
    assert low < of_user.mean() < high


def test_equal_seeds_give_equal_intervals() -> None:
    values, users = np.random.default_rng(1).random(90), np.arange(90) % 30
    assert Bootstrap(users).interval(values) == Bootstrap(users).interval(values)
    assert Bootstrap(users, seed=1).interval(values) != Bootstrap(users).interval(values)


def test_users_with_more_lists_weigh_more() -> None:
    users = np.array([0] * 9 + [1])
    means = Bootstrap(users).means(np.array([1.0] * 9 + [0.0])[:, None])
    # Both users drawn once: the mean over lists, not over users.
    assert 0.9 in means.round(6)


def test_a_small_steady_gain_shows_although_users_differ_much() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(300)
    better = base + 0.01 + rng.normal(0, 0.02, 300)
    sample = Bootstrap(np.arange(300))
    assert sample.above(better, base) > 0.99 and sample.above(base, better) < 0.01
    low, high = sample.interval(base)
    assert high - low > 0.05


def test_equal_methods_are_neither_above_nor_below() -> None:
    values = np.random.default_rng(3).random(50)
    assert Bootstrap(np.arange(50)).above(values, values) == 0.5


def test_many_users_are_sampled_in_batches() -> None:
    values = np.random.default_rng(4).random(30_000)
    low, high = Bootstrap(np.arange(30_000), samples=300).interval(values)
    assert low < values.mean() < high
