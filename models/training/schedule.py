"""AdamW with warm-up, cosine decay of the learning rate, and gradient clipping."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.training.distributed import process_group
from models.training.weight_averaging import WeightAverage

# Warm-up, as a share of the epochs.
_WARM_UP = 0.03
# The last learning rate as a share of the highest, without and with weight averaging.
_LAST, _LAST_WITH_AVERAGING = 0.01, 0.3
_MAX_GRADIENT_NORM = 1.0


class Schedule:
    """Optimizer steps over some epochs. All processes of a training make the same steps."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
        epochs: float,
        weight_averaging: float = 0.0,
    ) -> None:
        """
        Args:
            parameters: the parameters to train.
            learning_rate: the highest learning rate.
            weight_decay: weight decay of matrices. Biases and scalars do not decay.
            epochs: length of the schedule.
            weight_averaging: share of the last epochs whose steps `apply_average` averages.
        """
        self._parameters = parameters
        self._rate = learning_rate
        self._epochs = epochs
        self._done = 0.0
        self._averaging = weight_averaging
        self._average = WeightAverage(parameters) if weight_averaging else None
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=learning_rate,
        )

    def step(self, loss: Tensor, epoch_share: float) -> float:
        """Makes one optimizer step.

        Args:
            loss: this process's part of the loss.
            epoch_share: the step's share of an epoch.

        Returns:
            The loss, summed over the processes.
        """
        done = min(1.0, self._done / self._epochs)
        last = _LAST_WITH_AVERAGING if self._averaging else _LAST
        decay = (1 + last) / 2 + (1 - last) / 2 * math.cos(math.pi * done)
        rate = self._rate * min(1.0, (done + 1e-3) / _WARM_UP) * decay
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        whole = process_group.add_gradients(self._parameters, loss)
        nn.utils.clip_grad_norm_(self._parameters, _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self._done += epoch_share
        if self._average is not None and self._done >= (1 - self._averaging) * self._epochs:
            self._average.update()
        return whole.item()

    def apply_average(self) -> None:
        """Sets the parameters to their average, if there is one. Call it after the last step."""
        if self._average is not None:
            self._average.apply()

    @property
    def epochs_done(self) -> float:
        """The sum of the steps' shares."""
        return self._done

    def state(self) -> dict[str, Any]:
        """The state, for `load_state` of a schedule of the same parameters."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "done": self._done,
            "average": None if self._average is None else self._average.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._done = state["done"]
        if self._average is not None:
            self._average.load_state(state["average"])
