"""Epochs and steps of one training stage. There is a safe point after each step, where the training may stop."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.training.resume import rng_state
from models.training.schedule import Schedule

T = TypeVar("T")


class Loop:
    """The loop of a stage, from its start or from a checkpoint.

    A resumed loop skips finished epochs. It makes the batches of the current epoch again from the same random state,
    and skips those that were trained on.

    Attributes:
        losses: losses of the current epoch's steps.
    """

    def __init__(
        self,
        schedule: Schedule,
        rng: np.random.Generator,
        advance: Callable[[float, float], None],
        safe_point: Callable[[bool], None],
        saved: Mapping[str, Any] | None = None,
        process_states: str = "",
    ) -> None:
        """
        Args:
            schedule: makes the steps.
            rng: shuffles the batches.
            advance: called after each step with its share of an epoch and its loss.
            safe_point: called after each step with False, and after each epoch with True. The state may be saved then.
            saved: what `state` returned; None: starts from the beginning.
            process_states: this process's random states at `saved`; see `models.training.resume.rng_state`.
        """
        self._schedule, self._rng, self._advance, self._safe_point = schedule, rng, advance, safe_point
        self._epoch = self._steps = self._to_skip = 0
        self._rank_generators: tuple[np.random.Generator, ...] = ()
        self._saved_generators = self._saved_process = ""
        self.losses: list[float] = []
        if saved is not None:
            schedule.load_state(saved["schedule"])
            self._epoch, self._steps = saved["epoch"], saved["steps"]
            self._to_skip = self._steps
            self.losses = saved["losses"].tolist()
            self._saved_generators, self._saved_process = saved["generators"], process_states
            rng_state.restore_generators(saved["epoch_start"], [rng])
            advance(schedule.epochs_done, self.losses[-1] if self.losses else float("nan"))
        self._epoch_start = rng_state.generator_states([rng])

    def epochs(self, count: int) -> Iterator[int]:
        """Yields the numbers of the epochs that are left, of `count`."""
        while self._epoch < count:
            self._epoch_start = rng_state.generator_states([self._rng])
            if not self._steps:
                self.losses.clear()
                self._restore_process()
            yield self._epoch
            self._epoch += 1
            self._steps = 0
            if self._epoch < count:
                self._epoch_start = rng_state.generator_states([self._rng])
                self._safe_point(True)

    def steps(self, batches: Iterable[T], *rank_generators: np.random.Generator) -> Iterator[T]:
        """Yields the batches that are left of the current epoch.

        Args:
            batches: all batches of the epoch.
            rank_generators: this process's generators that the steps draw from, besides the loop's.
        """
        for batch in batches:
            if self._to_skip:
                self._to_skip -= 1
                if not self._to_skip:
                    rng_state.restore_generators(self._saved_generators, rank_generators)
                    self._restore_process()
                continue
            yield batch
            self._steps += 1
            self._rank_generators = rank_generators
            self._safe_point(False)

    def step(self, loss: Tensor, share: float) -> None:
        """Makes a step of the schedule. It is a `share` of an epoch."""
        self.losses.append(self._schedule.step(loss, share))
        self._advance(share, self.losses[-1])

    def state(self) -> dict[str, Any]:
        """The state at a safe point: numbers, text and tensors.

        `generators` is of this process. Everything else is the same in all processes.
        """
        return {
            "schedule": self._schedule.state(),
            "epoch": self._epoch,
            "steps": self._steps,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "epoch_start": self._epoch_start,
            "generators": rng_state.generator_states(self._rank_generators if self._steps else ()),
        }

    def _restore_process(self) -> None:
        if self._saved_process:
            rng_state.restore_process(self._saved_process)
            self._saved_process = ""
