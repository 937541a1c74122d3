"""Checkpoints of a training, from which the same command resumes.

One file holds the weights and the finished stages. For the current stage it holds the optimizer, the epoch and step,
and the state of every random number generator. It is written after every epoch and stage, and when a stop was
requested. A rename replaces it, so it is always complete. It holds numbers, text and tensors, and is loaded with
`weights_only`, so reading it runs no code.
"""

import base64
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from models.atomic_write import atomic_write
from models.errors import CheckpointRefused, CheckpointWriteFailed, TrainingStopped
from models.training.distributed import process_group
from models.training.loop import Loop
from models.training.resume import rng_state
from models.training.resume.stop import Stop
from models.training.schedule import Schedule

_FILE_FORMAT: Final = 2
"""Layout of the file. `models.training.identity.TRAINING_FORMAT` is the number of what the training computes."""
_MAX_SHOWN = 48


class Checkpoint:
    """The checkpoint of a training.

    A training calls `open`, then `track` for each of its modules, then `stage` for each stage. A stage takes its loop
    from `loop`. All processes of a training make the same calls at the same points; rank 0 writes.

    Attributes:
        path: path of the file; None: nothing is written.
        writes: how often the file was written.
    """

    def __init__(self, path: Path | None = None, stop: Stop | None = None) -> None:
        """
        Args:
            path: path of the file; None: nothing is written.
            stop: whether to stop at the next safe point.
        """
        self.path = path
        self._stop = stop or Stop()
        self._identity: dict[str, str] = {}
        self._modules: dict[str, nn.Module] = {}
        self._saved: dict[str, Any] = {}
        self._finished: dict[str, float] = {}
        self._stage = ""
        self._loop: Loop | None = None
        self._opened, self._seconds = time.monotonic(), 0.0
        self.writes = 0

    @property
    def seconds(self) -> float:
        """How long the training has taken, including the time before interruptions."""
        return self._seconds + time.monotonic() - self._opened

    def open(self, identity: Mapping[str, str]) -> str | None:
        """Reads the file, if there is one.

        Args:
            identity: what the training's result depends on, by name; see `models.training.identity`.

        Returns:
            Where the training resumes, in words; None if it starts from the beginning.

        Raises:
            CheckpointRefused: the file is of another identity, or cannot be read.
        """
        self._identity = dict(identity)
        content = self._read()
        if content is None:
            return None
        assert self.path is not None
        try:
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if saved["format"] != _FILE_FORMAT:
                raise ValueError(f"format {saved['format']}")
            saved_identity: dict[str, str] = saved["identity"]
        except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError and others
            raise CheckpointRefused(self.path, f"it cannot be read: {error}") from error
        if differences := _differences(saved_identity, self._identity):
            raise CheckpointRefused(self.path, f"it is of another training: {'; '.join(differences)}")
        self._saved, self._finished, self._seconds = saved, dict(saved["finished"]), saved["seconds"]
        return _describe(saved)

    def track(self, name: str, module: nn.Module) -> None:
        """Saves the module from now on, and restores it if the file has it. From now on, a stop waits for a safe
        point."""
        self._stop.deferred = True
        self._modules[name] = module
        if name in self._saved.get("modules", {}):
            module.load_state_dict(self._saved["modules"][name])

    def stage(self, name: str, run: Callable[[], float]) -> float:
        """Runs a stage, unless it was finished before the interruption.

        Args:
            name: name of the stage, unique in the training.
            run: trains, and returns the loss.

        Returns:
            The loss of the stage, in this run or before the interruption.

        Raises:
            TrainingStopped: a stop was requested. The file is written.
        """
        if name in self._finished:
            return self._finished[name]
        self._stage, self._loop = name, None
        if self._saved:
            rng_state.restore_process(self._saved_states()["process"])
        self._finished[name] = run()
        self._saved, self._loop = {}, None
        self._write()
        if self._stop_requested():
            raise TrainingStopped(self.path)
        return self._finished[name]

    def loop(
        self, schedule: Schedule, rng: np.random.Generator, advance: Callable[[float, float], None]
    ) -> Loop:
        """Makes the loop of the current stage. A stage has one. For the arguments, see `Loop`."""
        saved, process_states = None, ""
        if self._saved and self._saved["stage"] == self._stage and self._saved["loop"] is not None:
            states = self._saved_states()
            saved, process_states = (
                {**self._saved["loop"], "generators": states["generators"]},
                states["process"],
            )
        self._loop = Loop(schedule, rng, advance, self._safe_point, saved, process_states)
        return self._loop

    def stop_if_requested(self) -> None:
        """Stops work that only this process does after the last stage, when the file is up to date.

        Raises:
            TrainingStopped: a stop was requested.
        """
        if self._stop.requested:
            raise TrainingStopped(self.path)

    def remove(self) -> None:
        """Removes the file, when the training is finished or must start over."""
        if self.path is not None and not process_group.rank():
            self.path.unlink(missing_ok=True)

    def _safe_point(self, epoch_finished: bool) -> None:
        stop = self._stop_requested()
        if stop or epoch_finished:
            self._write()
        if stop:
            raise TrainingStopped(self.path)

    def _stop_requested(self) -> bool:
        """Whether a stop was requested in any process. All of them then stop at the same step."""
        if process_group.world_size() == 1:
            return self._stop.requested
        return bool(process_group.all_reduce_sum(torch.tensor([float(self._stop.requested)])).item())

    def _write(self) -> None:
        if self.path is None:
            return
        loop = None if self._loop is None else self._loop.state()
        generators = "" if loop is None else loop.pop("generators")
        states = process_group.all_gather([rng_state.process_states(), generators])
        if process_group.rank():
            return
        content = {
            "format": _FILE_FORMAT,
            "identity": self._identity,
            "modules": {name: module.state_dict() for name, module in self._modules.items()},
            "finished": self._finished,
            "seconds": self.seconds,
            "stage": self._stage,
            "loop": loop,
            "rng_states": [{"process": process, "generators": own} for process, own in states],
        }
        try:
            with atomic_write(self.path) as file:
                torch.save(content, file)
        except OSError as error:
            raise CheckpointWriteFailed(
                f"the checkpoint {self.path} cannot be written: {error.strerror or error}; the previous one is intact"
            ) from error
        self.writes += 1

    def _read(self) -> bytes | None:
        """The file's content, in all processes. Only the machine of rank 0 needs to have the file."""
        if self.path is None:
            return None
        content = self.path.read_bytes() if not process_group.rank() and self.path.is_file() else None
        if process_group.world_size() == 1:
            return content
        encoded = process_group.broadcast_text(base64.b64encode(content or b"").decode())
        return base64.b64decode(encoded) or None

    def _saved_states(self) -> dict[str, str]:
        found: dict[str, str] = self._saved["rng_states"][process_group.rank()]
        return found


def _describe(saved: Mapping[str, Any]) -> str:
    parts = [f"{name} is finished" for name in saved["finished"]]
    if saved["loop"] is not None:
        epoch, step = saved["loop"]["epoch"] + 1, saved["loop"]["steps"] + 1
        parts.append(f"{saved['stage']} is in epoch {epoch}, step {step}")
    return "; ".join(parts)


def _differences(saved: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    found = []
    for name in sorted({*saved, *current}):
        before, now = saved.get(name, "none"), current.get(name, "none")
        if before != now:
            short = len(before) <= _MAX_SHOWN and len(now) <= _MAX_SHOWN
            found.append(f"{name} ({before} in the checkpoint, {now} now)" if short else name)
    return found
