"""Likelihood weighed by advantage."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.training.stages.advantage import weighed

losses = st.floats(1e-3, 40)
advantages = st.floats(-4, 4)


def step(minus_log_p: float, advantage: float) -> tuple[float, float]:
    """The loss, and its gradient by log p."""
    given = torch.tensor([minus_log_p], requires_grad=True)
    loss = weighed(given, torch.tensor([advantage]))
    loss.sum().backward()
    assert given.grad is not None
    return loss.item(), -given.grad.item()


@given(losses, st.floats(0.01, 4))
def test_better_than_expected_weighs_log_p_by_the_advantage(minus_log_p: float, advantage: float) -> None:
    loss, gradient = step(minus_log_p, advantage)
    assert loss == pytest.approx(advantage * minus_log_p, rel=1e-4)
    assert gradient == pytest.approx(-advantage, rel=1e-4)


@given(losses, st.floats(-4, -0.01))
def test_worse_than_expected_becomes_less_likely_and_never_below_nothing(
    minus_log_p: float, advantage: float
) -> None:
    loss, gradient = step(minus_log_p, advantage)
    assert 0 <= loss <= 4 * 14
    assert gradient >= 0


def test_what_is_improbable_already_is_left_alone() -> None:
    assert step(20.0, -2.0)[1] < 1e-6 < step(0.7, -2.0)[1]
