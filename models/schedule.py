"""AdamW with a short rise and a cosine fall of the learning rate, and bounded gradients."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models import workers

_RISE = 0.03


class Schedule:
    """Steps over `epochs`; each step says which share of an epoch it was. All processes that train together make the
    same step, each for its part of the loss."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], learning_rate: float, weight_decay: float, epochs: float
    ) -> None:
        self._parameters = parameters
        self._rate = learning_rate
        self._epochs = epochs
        self._done = 0.0
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
        rate = self._rate * min(1.0, (done + 1e-3) / _RISE) * (0.505 + 0.495 * math.cos(math.pi * done))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        whole = workers.add_gradients(self._parameters, loss)
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._done += epoch_share
        return whole.item()

    @property
    def epochs_done(self) -> float:
        """By the shares that the steps were."""
        return self._done

    def state(self) -> dict[str, Any]:
        """What a schedule of the same parameters goes on from."""
        return {"optimizer": self._optimizer.state_dict(), "done": self._done}

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Takes what `state` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._done = state["done"]
