"""The protocol of a library's process: a line of JSON in, a line of JSON out, and arrays in .npz files.

The process runs a script of this folder by its path, in the environment of the baselines. So this file imports nothing
of this project.
"""

import ctypes
import itertools
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

Arrays = dict[str, Any]
Say = Callable[[str], None]


class Model(Protocol):
    """One baseline of a library."""

    def fit(self, arrays: Arrays, parameters: dict[str, Any], say: Say) -> tuple[dict[str, Any], Arrays]:
        """Trains the model.

        Returns:
            Facts that training found, such as epochs, and two arrays: `items` [items, d], the item vectors, and
            `listed` [items], whether an item may be listed.
        """
        ...

    def encode(self, arrays: Arrays) -> Arrays:
        """Encodes histories.

        Returns:
            Two arrays: `users` [b, d], the user vectors, and `found` [b], whether the model knows anything about the
            user.
        """
        ...


def serve(models: dict[str, Callable[[], Model]]) -> None:
    """Answers requests from stdin until it ends."""
    if sys.platform == "linux":
        # A training may take an hour, and is useless once the parent is gone.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    # What a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    model: Model | None = None
    for number, line in enumerate(sys.stdin):
        task = json.loads(line)
        try:
            with np.load(task["arrays"]) as file:
                arrays = dict(file)
            facts: dict[str, Any] = {}
            if task["do"] == "fit":
                kept = Path(task["kept"]) if task.get("kept") else None
                fitted = None if kept is None else _kept(kept)
                if fitted is not None:
                    model, facts, found = fitted
                else:
                    model = models[task["model"]]()
                    facts, found = model.fit(
                        arrays, task["parameters"], lambda text: _say(answers, progress=text)
                    )
                    if kept is not None:
                        _keep(kept, (model, facts, found))
            elif model is not None:
                found = model.encode(arrays)
            else:
                raise ValueError("no model is fitted yet")
            path = Path(task["arrays"]).with_name(f"answer-{number}.npz")
            np.savez(path, **found)
            _say(answers, done=facts, arrays=str(path))
        except Exception as error:
            traceback.print_exc()
            _say(answers, error=f"{type(error).__name__}: {error}")


def _say(answers: TextIO, **fields: object) -> None:
    answers.write(json.dumps(fields) + "\n")


def _kept(path: Path) -> tuple[Model, dict[str, Any], Arrays] | None:
    """What `_keep` wrote; None if it is not there, or cannot be read: then it is fitted again."""
    try:
        fitted: tuple[Model, dict[str, Any], Arrays] = pickle.loads(path.read_bytes())  # noqa: S301 - our own file
        return fitted
    except FileNotFoundError:
        return None
    except Exception:
        traceback.print_exc()
        return None


def _keep(path: Path, fitted: tuple[Model, dict[str, Any], Arrays]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(pickle.dumps(fitted))
    partial.rename(path)


def histories(arrays: Arrays) -> list[tuple[Any, Any]]:
    """Items and weights of each query. The arrays hold all queries in a row, which `bounds` [b + 1] separates."""
    bounds = arrays["bounds"]
    return [(arrays["items"][a:b], arrays["weights"][a:b]) for a, b in itertools.pairwise(bounds.tolist())]
