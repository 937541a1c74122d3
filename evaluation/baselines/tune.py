"""Chooses the parameters of a baseline, by NDCG@10 on the validation variant of a split.

It is a coordinate search over the lists of grids.yaml. A folder keeps every measurement under a key of its inputs, so
that an interrupted search resumes, and a repeated one costs nothing.
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
# Increase it when a baseline computes other scores from the same inputs. Earlier measurements are then not used.
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Grids:
    """The values of each parameter of each baseline. The search starts with the first value.

    Attributes:
        rounds: Maximum number of rounds over all parameters.
        values: By baseline and parameter.
    """

    rounds: int
    values: Mapping[str, Mapping[str, tuple[Value, ...]]]

    def first(self, name: str) -> dict[str, Value]:
        """The parameters with which the search starts."""
        return {parameter: values[0] for parameter, values in self.values[name].items()}


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of a search.

    Attributes:
        name: The baseline.
        parameters: The best ones, with those that training found, such as epochs.
        ndcg: Their NDCG@10 on the validation.
        tried: How many combinations were compared.
    """

    name: str
    parameters: Parameters
    ndcg: float
    tried: int


def read_grids(path: Path = GRIDS) -> Grids:
    """Reads a file of grids. Raises BaselineFailed if it does not map all baselines to lists of values."""
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

    Args:
        name: The baseline.
        validation: The events, and which may be trained on.
        measure: Returns the NDCG@10 of a method on the validation's queries.
        folder: Keeps measurements, and long trainings of libraries.
        popular: Tuned parameters of popularity, for users that a baseline knows nothing about. None: the first ones of
            its grid.
        grids: Values to search. None: those of grids.yaml.
        seed: Seed of the training.
        threads: Threads of a library's process.
        say: Called with lines of progress.

    Raises:
        BaselineFailed: The baseline could not be fitted.
        EnvironmentMissing: The environment of a library's baseline is not installed.
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
            # Among equals the current value wins, then the first of the list.
            order = [best[parameter], *(o for o in options if o != best[parameter])]
            best[parameter] = max(order, key=lambda value: reached({**best, parameter: value}))
        if best == before:
            break
    ndcg, parameters = seen[json.dumps(best, sort_keys=True)] if seen else (reached(best), best)
    return Tuned(name, parameters, ndcg, len(seen))


def content_key(split: Training, name: str, popular: Parameters, seed: int) -> str:
    """A key that is equal for equal events, training rows, protocol, baseline, fallback and seed."""
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
    """Measurements of one baseline on one split, each a line of JSON. The last complete one of a setting counts."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / f"{key}.jsonl"

    def read(self, parameters: Parameters) -> tuple[float, Parameters] | None:
        """NDCG@10 and the parameters with those that training found; None if not measured yet."""
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
