"""The epochs and steps of one stage of training, with a safe point behind each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.training.resume import rng_state as chances
from models.training.schedule import Schedule

T = TypeVar("T")


class Loop:
    """Goes on where `saved` stands, which `state` gave: epochs that are over are not gone through again, and of the one
    under way the batches are made again, by the same chances, and those that were learned from passed over.

    losses: of the steps of the epoch under way. safe_point is called where the state may be written: after each step
    with False, after an epoch with True.
    """

    def __init__(
        self,
        schedule: Schedule,
        rng: np.random.Generator,
        advance: Callable[[float, float], None],
        safe_point: Callable[[bool], None],
        saved: Mapping[str, Any] | None = None,
        process: str = "",
    ) -> None:
        """rng: what batches are shuffled by. advance: told of each step's share of an epoch and its loss. process:
        where this process's own chances stood in `saved`, see `models.training.resume.rng_state`."""
        self._schedule, self._rng, self._advance, self._safe_point = schedule, rng, advance, safe_point
        self._epoch = self._steps = self._passed_over = 0
        self._own: tuple[np.random.Generator, ...] = ()
        self._saved_own = self._saved_process = ""
        self.losses: list[float] = []
        if saved is not None:
            schedule.go_on_from(saved["schedule"])
            self._epoch, self._steps = saved["epoch"], saved["steps"]
            self._passed_over = self._steps
            self.losses = saved["losses"].tolist()
            self._saved_own, self._saved_process = saved["own"], process
            chances.put_generators(saved["began"], [rng])
            advance(schedule.epochs_done, self.losses[-1] if self.losses else float("nan"))
        self._began = chances.of_generators([rng])

    def epochs(self, count: int) -> Iterator[int]:
        """The numbers of the epochs that are left."""
        while self._epoch < count:
            self._began = chances.of_generators([self._rng])
            if not self._steps:
                self.losses.clear()
                self._go_on()
            yield self._epoch
            self._epoch += 1
            self._steps = 0
            if self._epoch < count:
                self._began = chances.of_generators([self._rng])
                self._safe_point(True)

    def steps(self, batches: Iterable[T], *own: np.random.Generator) -> Iterator[T]:
        """The batches that are left. own: what is drawn from, beside the loop's generator, while they are gone
        through."""
        for chosen in batches:
            if self._passed_over:
                self._passed_over -= 1
                if not self._passed_over:
                    chances.put_generators(self._saved_own, own)
                    self._go_on()
                continue
            yield chosen
            self._steps += 1
            self._own = own
            self._safe_point(False)

    def step(self, loss: Tensor, share: float) -> None:
        """A step of the schedule; share: of an epoch."""
        self.losses.append(self._schedule.step(loss, share))
        self._advance(share, self.losses[-1])

    def state(self) -> dict[str, Any]:
        """Where it stands at a safe point: numbers, text and tensors alone. `own` is this process's; the rest is the
        same in all that train together."""
        return {
            "schedule": self._schedule.state(),
            "epoch": self._epoch,
            "steps": self._steps,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "began": self._began,
            "own": chances.of_generators(self._own if self._steps else ()),
        }

    def _go_on(self) -> None:
        if self._saved_process:
            chances.put_process(self._saved_process)
            self._saved_process = ""
