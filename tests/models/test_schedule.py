"""A training stage ends with its last weights, or with the mean of many."""

import pytest
import torch
from torch import Tensor, nn

from models.training.schedule import Schedule

STEPS = 16


def trained(averaged: float) -> tuple[Tensor, list[Tensor]]:
    """The weight at the end, and the weights after each step of four epochs."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 1)
    schedule = Schedule(list(layer.parameters()), 0.1, 0.0, 4, averaged)
    passed = []
    for _ in range(STEPS):
        schedule.step((layer(torch.randn(8, 4)) - 1).square().mean(), 4 / STEPS)
        passed.append(layer.weight.detach().clone())
    schedule.apply_average()
    return layer.weight.detach(), passed


def test_without_averaging_the_last_weights_are_kept() -> None:
    end, passed = trained(0.0)
    torch.testing.assert_close(end, passed[-1], rtol=0, atol=0)


@pytest.mark.parametrize(("averaged", "steps"), [(0.5, 9), (0.25, 5)])
def test_the_steps_of_the_last_share_of_the_epochs_are_averaged(averaged: float, steps: int) -> None:
    """The first of them is the step that reaches the share."""
    end, passed = trained(averaged)
    torch.testing.assert_close(end, torch.stack(passed[-steps:]).mean(0))
    assert not torch.allclose(end, passed[-1])


def test_averaged_steps_stay_apart() -> None:
    """The learning rate falls less. Otherwise the mean would be of nearly equal weights."""
    assert _last_stride(trained(0.5)[1]) > 10 * _last_stride(trained(0.0)[1])


def _last_stride(passed: list[Tensor]) -> float:
    return float((passed[-1] - passed[-2]).abs().max())
