"""Measurements kept on disk by the content of what they are of, so that an interrupted run goes on where it was."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

import numpy as np

from evaluation.metrics.measure import Measured

_ROOT: Final = Path(__file__).resolve().parents[1]
_MODELS: Final = _ROOT / "models"
_EVALUATION: Final = _ROOT / "evaluation"
_COMPRESSION: Final = _MODELS / "export" / "compression"
_REFERENCES: Final = _EVALUATION / "baselines"


def training_code() -> str:
    """Digest of the code that trains: a model of other code is another model."""
    return _digest(path for path in _MODELS.rglob("*.py") if _COMPRESSION not in path.parents)


def measuring_code() -> str:
    """Digest of the code that measures."""
    return _digest(_EVALUATION.glob("*.py"))


def reference_code() -> str:
    """Digest of the code of baselines."""
    return _digest(path for path in _REFERENCES.rglob("*.py"))


def key_of(*parts: object) -> str:
    """Equal for equal parts, which are told apart by what JSON makes of them."""
    text = "\0".join(json.dumps(part, sort_keys=True, default=str) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class ResultCache:
    """Rows that were measured, a file for each key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, key: str, measure: Callable[[], Sequence[Measured]]) -> list[Measured]:
        """What is kept under the key, or else what `measure` gives, which is kept."""
        path = self._folder / f"{key}.npz"
        try:
            return _read(path)
        except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError):
            found = list(measure())
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}")
        with partial.open("wb") as file:
            np.savez_compressed(file, **_arrays(found))  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
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


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(paths):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
