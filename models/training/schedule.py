"""AdamW with a short rise and a cosine fall of the learning rate, and bounded gradients.

The numbers at the end are those of the last step, or the mean of those of many (Izmailov et al. 2018, "Averaging
Weights Leads to Wider Optima and Better Generalization", arXiv:1803.05407, section 3). Steps that are averaged have to
stay apart: the rate falls less then.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.training.distributed import process_group as workers

_RISE = 0.03
# Of the highest rate, what it falls to: where the last step counts alone, and where many do.
_LAST, _LAST_OF_MANY = 0.01, 0.3


class Schedule:
    """Steps over `epochs`; each step says which share of an epoch it was. All processes that train together make the
    same step, each for its part of the loss."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
        epochs: float,
        averaged: float = 0.0,
    ) -> None:
        """averaged: share of the epochs, the last ones, whose steps' numbers `settle` averages."""
        self._parameters = parameters
        self._rate = learning_rate
        self._epochs = epochs
        self._done = 0.0
        self._averaged, self._steps = averaged, 0
        self._mean = [p.detach().clone() for p in parameters] if averaged else []
        # Biases and single numbers do not decay.
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=learning_rate,
        )

    def step(self, loss: Tensor, epoch_share: float) -> float:
        """One step down the gradient of `loss`, which is returned: the sum of all processes' parts."""
        done = min(1.0, self._done / self._epochs)
        last = _LAST_OF_MANY if self._averaged else _LAST
        fall = (1 + last) / 2 + (1 - last) / 2 * math.cos(math.pi * done)
        rate = self._rate * min(1.0, (done + 1e-3) / _RISE) * fall
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        whole = workers.add_gradients(self._parameters, loss)
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._done += epoch_share
        if self._averaged and self._done >= (1 - self._averaged) * self._epochs:
            self._steps += 1
            for mean, parameter in zip(self._mean, self._parameters, strict=True):
                mean.lerp_(parameter.detach(), 1 / self._steps)
        return whole.item()

    @torch.no_grad()
    def settle(self) -> None:
        """After the last step: the parameters become the mean, where there is one."""
        if self._steps:
            for mean, parameter in zip(self._mean, self._parameters, strict=True):
                parameter.copy_(mean)

    @property
    def epochs_done(self) -> float:
        """By the shares that the steps were."""
        return self._done

    def state(self) -> dict[str, Any]:
        """What a schedule of the same parameters goes on from."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "done": self._done,
            "mean": self._mean,
            "averaged_steps": self._steps,
        }

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Takes what `state` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._done = state["done"]
        for mean, saved in zip(self._mean, state["mean"], strict=True):
            mean.copy_(saved)
        self._steps = state["averaged_steps"]
