"""A training's place on disk, so that the same command goes on where another stopped.

One file holds the weights, the stages that are over, and of the stage under way the optimizer, the place among its
epochs and steps, and where every source of chance stands. It is written at the end of every epoch and stage, and
where somebody asked to stop; by one rename, so it is always whole. Everything in it is numbers, text and tensors:
reading it runs no code.
"""

import base64
import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.errors import CheckpointRefused, CheckpointUnwritten, TrainingStopped
from models.training.distributed import process_group as workers
from models.training.loop import Loop
from models.training.resume import rng_state as chances
from models.training.resume.stopping import Stop
from models.training.schedule import Schedule

_FORMAT = 1
_WORTH_SHOWING = 48


class Checkpoint:
    """path: the file; None: nothing is kept. stop: whether to stop at the next safe point.

    A training opens it, lets it `follow` its modules, and goes through its `stage`s, which take their `loop` from it.
    All processes that train together do the same at the same moments; the first one writes.
    """

    def __init__(self, path: Path | None = None, stop: Stop | None = None) -> None:
        self.path = path
        self._stop = stop or Stop()
        self._identity: dict[str, str] = {}
        self._modules: dict[str, nn.Module] = {}
        self._saved: dict[str, Any] = {}
        self._done: dict[str, float] = {}
        self._stage = ""
        self._loop: Loop | None = None
        self._began, self._seconds = time.monotonic(), 0.0
        self.writes = 0

    @property
    def seconds(self) -> float:
        """That the training has taken so far, before its interruptions too."""
        return self._seconds + time.monotonic() - self._began

    def open(self, identity: Mapping[str, str]) -> str | None:
        """Goes on from the file where there is one: then where that is, in words. identity: what the training comes of,
        by name.

        Raises CheckpointRefused where the file is of a training of other things, by their names, or no checkpoint.
        """
        self._identity = dict(identity)
        content = self._read()
        if content is None:
            return None
        assert self.path is not None
        try:
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if saved["format"] != _FORMAT:
                raise ValueError(f"format {saved['format']}")
            there: dict[str, str] = saved["identity"]
        except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError and others
            raise CheckpointRefused(self.path, f"it cannot be read: {error}") from error
        if other := _differences(there, self._identity):
            raise CheckpointRefused(self.path, f"it is of another training: {'; '.join(other)}")
        self._saved, self._done, self._seconds = saved, dict(saved["done"]), saved["seconds"]
        return _words(saved)

    def follow(self, name: str, module: nn.Module) -> None:
        """The module's numbers are kept from now on; where the checkpoint has them, it takes them. From here on a stop
        waits for a safe point."""
        self._stop.waits = True
        self._modules[name] = module
        if name in self._saved.get("modules", {}):
            module.load_state_dict(self._saved["modules"][name])

    def stage(self, name: str, run: Callable[[], float]) -> float:
        """What `run` returns, or returned before the training was interrupted. Raises TrainingStopped."""
        if name in self._done:
            return self._done[name]
        self._stage, self._loop = name, None
        if self._saved:
            chances.put_process(self._own_chances()["process"])
        self._done[name] = run()
        self._saved, self._loop = {}, None
        self._write()
        if self._asked():
            raise TrainingStopped(self.path)
        return self._done[name]

    def loop(
        self, schedule: Schedule, rng: np.random.Generator, advance: Callable[[float, float], None]
    ) -> Loop:
        """The loop of the stage under way; one for each. See `Loop`."""
        saved, process = None, ""
        if self._saved and self._saved["stage"] == self._stage and self._saved["loop"] is not None:
            own = self._own_chances()
            saved, process = {**self._saved["loop"], "own": own["own"]}, own["process"]
        self._loop = Loop(schedule, rng, advance, self._safe_point, saved, process)
        return self._loop

    def stop_if_asked_here(self) -> None:
        """Where nothing has changed since the last write, and this process works alone. Raises TrainingStopped where it
        was asked to stop."""
        if self._stop.asked:
            raise TrainingStopped(self.path)

    def remove(self) -> None:
        """The training is over."""
        if self.path is not None and not workers.rank():
            self.path.unlink(missing_ok=True)

    def _safe_point(self, epoch_over: bool) -> None:
        asked = self._asked()
        if asked or epoch_over:
            self._write()
        if asked:
            raise TrainingStopped(self.path)

    def _asked(self) -> bool:
        """Whether any process was asked: all of them then stop at the same step."""
        if workers.count() == 1:
            return self._stop.asked
        return bool(workers.total(torch.tensor([float(self._stop.asked)])).item())

    def _write(self) -> None:
        if self.path is None:
            return
        loop = None if self._loop is None else self._loop.state()
        own = "" if loop is None else loop.pop("own")
        each = workers.told_by_all([chances.of_process(), own])
        if workers.rank():
            return
        content = {
            "format": _FORMAT,
            "identity": self._identity,
            "modules": {name: module.state_dict() for name, module in self._modules.items()},
            "done": self._done,
            "seconds": self.seconds,
            "stage": self._stage,
            "loop": loop,
            "chances": [{"process": process, "own": generators} for process, generators in each],
        }
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path)
        except OSError as error:
            raise CheckpointUnwritten(
                f"the checkpoint {self.path} cannot be written: {error.strerror or error}; what was there before stands"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        self.writes += 1

    def _read(self) -> bytes | None:
        """The file's content, in all processes: only the first one's machine needs to have it."""
        if self.path is None:
            return None
        content = self.path.read_bytes() if not workers.rank() and self.path.is_file() else None
        if workers.count() == 1:
            return content
        told = workers.told(base64.b64encode(content or b"").decode())
        return base64.b64decode(told) or None

    def _own_chances(self) -> dict[str, str]:
        found: dict[str, str] = self._saved["chances"][workers.rank()]
        return found


def _words(saved: Mapping[str, Any]) -> str:
    over = [f"{name} is over" for name in saved["done"]]
    if saved["loop"] is not None:
        over.append(
            f"{saved['stage']} is in its epoch {saved['loop']['epoch'] + 1}, step {saved['loop']['steps'] + 1}"
        )
    return "; ".join(over)


def _differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    found = []
    for name in sorted({*there, *here}):
        one, other = there.get(name, "none"), here.get(name, "none")
        if one != other:
            short = len(one) <= _WORTH_SHOWING and len(other) <= _WORTH_SHOWING
            found.append(f"{name} ({one} there, {other} here)" if short else name)
    return found
