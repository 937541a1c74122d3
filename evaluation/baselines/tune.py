"""The parameters of a baseline, chosen on the validation variant of a split by NDCG@10.

Coordinate search over the lists of grids.yaml. Every measurement is kept in a folder under a key of its
content, so that an interrupted search goes on where it was, and the same search again costs nothing.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from evaluation.baselines.errors import BaselineFailed
from evaluation.baselines.fit import NAMES, close, fit
from evaluation.baselines.interface import Method, Parameters, Training, Value

GRIDS: Final = Path(__file__).with_name("grids.yaml")
FITS: Final = "fits"
"""Folder for long trainings of libraries, beside the measurements."""
# What is kept is of no use once a baseline computes something else: raise it then.
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Grids:
    """For each baseline, the values of each parameter, the first being where the search starts."""

    rounds: int
    values: Mapping[str, Mapping[str, tuple[Value, ...]]]

    def first(self, name: str) -> dict[str, Value]:
        """Where the search for a baseline starts."""
        return {parameter: values[0] for parameter, values in self.values[name].items()}


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best parameters, with what training found (epochs); the NDCG@10 that they reached on the validation;
    and how many settings were compared."""

    name: str
    parameters: Parameters
    ndcg: float
    tried: int


def read_grids(path: Path = GRIDS) -> Grids:
    """Raises BaselineFailed where the file is not a mapping of baselines to lists of values."""
    try:
        content = yaml.safe_load(path.read_text())
        rounds = int(content.pop("rounds"))
        values = {
            name: {parameter: tuple(options) for parameter, options in grid.items()}
            for name, grid in content.items()
        }
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BaselineFailed(f"{path} is not a file of grids: {error}") from error
    empty = [f"{name}.{p}" for name, grid in values.items() for p, options in grid.items() if not options]
    if empty or not set(NAMES) <= set(values):
        missing = sorted(set(NAMES) - set(values))
        raise BaselineFailed(f"{path}: no values for {', '.join(empty + missing)}")
    return Grids(rounds, values)


def tune(
    name: str,
    validation: Training,
    measure: Callable[[Method], float],
    folder: Path,
    *,
    popular: Parameters | None = None,
    grids: Grids | None = None,
    seed: int = 0,
    threads: int = 1,
    say: Callable[[str], None] | None = None,
) -> Tuned:
    """Searches for the parameters of a baseline.

    validation: rows to be trained on, none of which lies after a validation target's history. measure: NDCG@10
    of a row on the validation's queries. popular: tuned parameters of popularity, for users that a baseline knows
    nothing of (None: where the grid of popularity starts). folder: where measurements are kept, and long
    trainings of libraries.

    Raises BaselineFailed, EnvironmentMissing.
    """
    grids = grids or read_grids()
    popular = popular or grids.first("popularity")
    report = say or (lambda _: None)
    seen: dict[str, tuple[float, Parameters]] = {}
    kept = TuningCache(folder, content_key(validation, name, popular, seed))

    def reached(parameters: Parameters) -> float:
        key = json.dumps(parameters, sort_keys=True)
        if key not in seen:
            found = kept.read(parameters)
            if found is None:
                found = _measure(
                    name, validation, parameters, popular, measure, folder / FITS, seed, threads, say
                )
                kept.write(parameters, *found)
            seen[key] = found
            report(f"{name} {len(seen)}: NDCG@10 {found[0]:.4f} with {_words(found[1])}")
        return seen[key][0]

    best = grids.first(name)
    for _ in range(grids.rounds):
        before = dict(best)
        for parameter, options in grids.values[name].items():
            # Of equals the one that is held already, then the first of the list.
            order = [best[parameter], *(o for o in options if o != best[parameter])]
            best[parameter] = max(order, key=lambda value: reached({**best, parameter: value}))
        if best == before:
            break
    ndcg, parameters = seen[json.dumps(best, sort_keys=True)] if seen else (reached(best), best)
    return Tuned(name, parameters, ndcg, len(seen))


def content_key(split: Training, name: str, popular: Parameters, seed: int) -> str:
    """Equal for equal events, training rows, protocol, fallback and seed."""
    digest = hashlib.blake2b(digest_size=12)
    for part in (
        split.known.fingerprint(),
        split.name,
        name,
        json.dumps(popular, sort_keys=True),
        seed,
        FORMAT,
    ):
        digest.update(f"{part}\0".encode())
    digest.update(split.training.tobytes())
    return digest.hexdigest()


class TuningCache:
    """Measurements of one baseline on one split: a line of JSON each, the last whole one of a setting counts."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / f"{key}.jsonl"

    def read(self, parameters: Parameters) -> tuple[float, Parameters] | None:
        """NDCG@10 and the parameters as training left them; None: not measured yet."""
        for line in reversed(list(self._lines())):
            if line["asked"] == dict(parameters):
                ndcg, found = line["ndcg"], line["parameters"]
                assert isinstance(ndcg, float) and isinstance(found, dict)
                return ndcg, found
        return None

    def write(self, parameters: Parameters, ndcg: float, found: Parameters) -> None:
        """Appends a measurement and waits until it is on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"asked": dict(parameters), "parameters": dict(found), "ndcg": ndcg})
        with self._path.open("a") as file:
            file.write("\n" + line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[dict[str, object]]:
        if not self._path.is_file():
            return
        for text in self._path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # cut off in the middle of a write, or the empty line before one
            yield line


def _measure(
    name: str,
    split: Training,
    parameters: Parameters,
    popular: Parameters,
    measure: Callable[[Method], float],
    kept: Path,
    seed: int,
    threads: int,
    say: Callable[[str], None] | None,
) -> tuple[float, Parameters]:
    row, found = fit(name, split, parameters, popular=popular, seed=seed, threads=threads, kept=kept, say=say)
    try:
        return float(measure(row)), found
    finally:
        close(row)


def _words(parameters: Parameters) -> str:
    return ", ".join(f"{name} {'none' if value is None else value}" for name, value in parameters.items())
