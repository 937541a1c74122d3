"""Keeps results on disk, so that an interrupted run resumes.

A key covers everything that changes a result: settings, data, and the number of the format.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from evaluation.metrics.measure import Measured
from models.atomic_write import atomic_write

log = structlog.get_logger()

RESULT_FORMAT: Final = 1
"""Increase it when the same settings and data give other results. Results under another number are not used."""


def key_of(*parts: object) -> str:
    """A key that is equal for equal parts. Parts are compared by their JSON."""
    text = "\0".join(json.dumps(part, sort_keys=True) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class ResultCache:
    """Keeps measured methods, in one file per key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_or_measure(self, key: str, measure: Callable[[], Sequence[Measured]]) -> list[Measured]:
        """Returns what is kept under the key. If there is nothing that can be read, calls `measure` and keeps the
        result."""
        path = self._folder / f"{key}.npz"
        if path.is_file():
            try:
                return _read(path)
            except Exception as error:  # numpy, zipfile and zlib each have their own
                log.warning("kept_result_unreadable", path=str(path), cause=repr(error))
        found = list(measure())
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.savez_compressed(file, **_arrays(found))  # type: ignore[arg-type]
        return found


def _arrays(rows: Sequence[Measured]) -> dict[str, object]:
    return {f"{place}.{f.name}": getattr(row, f.name) for place, row in enumerate(rows) for f in fields(row)}


def _read(path: Path) -> list[Measured]:
    with path.open("rb") as opened, np.load(opened) as file:
        count = len({name.partition(".")[0] for name in file.files})
        return [
            Measured(
                str(file[f"{place}.name"]),
                file[f"{place}.figures"],
                file[f"{place}.inside"],
                file[f"{place}.discounts"],
                float(file[f"{place}.coverage"]),
                float(file[f"{place}.novelty"]),
                float(file[f"{place}.diversity"]),
            )
            for place in range(count)
        ]
