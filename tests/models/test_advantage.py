"""Likelihood weighted by advantage."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.data.events import Events
from models.training.stages.advantage import advantage_loss, rating_spread

losses = st.floats(1e-3, 40)
advantages = st.floats(-4, 4)


def step(minus_log_p: float, advantage: float) -> tuple[float, float]:
    """The loss, and its gradient by log p."""
    given = torch.tensor([minus_log_p], requires_grad=True)
    loss = advantage_loss(given, torch.tensor([advantage]))
    loss.sum().backward()
    assert given.grad is not None
    return loss.item(), -given.grad.item()


@given(losses, st.floats(0.01, 4))
def test_a_better_event_weights_log_p_by_its_advantage(minus_log_p: float, advantage: float) -> None:
    loss, gradient = step(minus_log_p, advantage)
    assert loss == pytest.approx(advantage * minus_log_p, rel=1e-4)
    assert gradient == pytest.approx(-advantage, rel=1e-4)


@given(losses, st.floats(-4, -0.01))
def test_a_worse_event_becomes_less_likely_with_a_bounded_loss(minus_log_p: float, advantage: float) -> None:
    loss, gradient = step(minus_log_p, advantage)
    assert 0 <= loss <= 4 * 14
    assert gradient >= 0


def test_an_improbable_worse_event_has_almost_no_gradient() -> None:
    assert step(20.0, -2.0)[1] < 1e-6 < step(0.7, -2.0)[1]


def ratings(rows: list[tuple[int, float]]) -> Events:
    """Events of these users and values."""
    n = len(rows)
    none = np.zeros(n, np.int64)
    users, values = np.array([user for user, _ in rows]), np.array([value for _, value in rows], np.float32)
    return Events(
        [f"u{user}" for user in range(10)], ["item"], ("rate",), users, none, none, none, values,
        np.ones(n, np.bool_), np.zeros(n, np.bool_),
    )  # fmt: skip


def test_ratings_are_weighted_by_each_users_own_spread() -> None:
    careful = [(0, 3.0 + n % 2) for n in range(40)]
    wide = [(1, 1.0 + 4 * (n % 2)) for n in range(40)]
    constant = [(2, 3.0)] * 40
    events = ratings(careful + wide + constant)
    spread = rating_spread(events, shrinkage=1.0)
    overall = float(events.values.std())
    assert spread[0] < 0.7 < 1.7 < spread[1]
    assert spread[5] == pytest.approx(overall), "a user without ratings has the spread of all"
    drawn = rating_spread(events, shrinkage=1000.0)
    assert np.all(np.abs(drawn - overall) < np.abs(spread - overall) + 1e-6)
    assert rating_spread(events, shrinkage=0.0)[2] == pytest.approx(overall), (
        "a constant rating has no spread"
    )


def test_events_without_ratings_have_no_spread_of_their_own() -> None:
    assert rating_spread(ratings([(0, float("nan"))] * 3)).tolist() == [1.0] * 10
