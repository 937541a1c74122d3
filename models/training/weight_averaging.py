"""Weight averaging: a model keeps the mean of its weights over many steps instead of those of the last step.

See Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization" (SWA, arXiv:1803.05407,
section 3). Averaged steps must stay apart, so the learning rate falls less; see `models.training.schedule`.

Off by default (`train.weight_averaging`); docs/experiments.md has its figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """The running mean of parameters."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._mean = [p.detach().clone() for p in parameters]
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Adds the parameters' current values to the mean."""
        self._steps += 1
        for mean, parameter in zip(self._mean, self._parameters, strict=True):
            mean.lerp_(parameter, 1 / self._steps)

    @torch.no_grad()
    def apply(self) -> None:
        """Sets the parameters to the mean, unless nothing was added."""
        if self._steps:
            for mean, parameter in zip(self._mean, self._parameters, strict=True):
                parameter.copy_(mean)

    def state(self) -> dict[str, Any]:
        """The state, for `load_state` of an average of the same parameters."""
        return {"mean": self._mean, "steps": self._steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned."""
        for mean, saved in zip(self._mean, state["mean"], strict=True):
            mean.copy_(saved)
        self._steps = state["steps"]
