"""Fits baselines by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from evaluation.baselines.ease import ease
from evaluation.baselines.errors import BaselineFailed
from evaluation.baselines.history import History
from evaluation.baselines.interface import Method, Parameters, Training, Value
from evaluation.baselines.item_knn import item_knn
from evaluation.baselines.item_to_item import ItemToItem
from evaluation.baselines.library_method import SCRIPTS, LibraryMethod
from evaluation.baselines.popularity import Popularity
from evaluation.baselines.process import LibraryProcess

NAMES: Final = ("popularity", "item-knn", "ease", "als", "bpr", "sasrec")
_FIT_SECONDS: Final = 7200.0
# SASRec trains for minutes. The others train in seconds, so they are not worth the disk space.
_KEPT: Final = frozenset({"sasrec"})


def fit(
    name: str,
    split: Training,
    parameters: Parameters,
    *,
    popular: Parameters,
    seed: int = 0,
    threads: int = 1,
    kept: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Method, Parameters]:
    """Trains a baseline on a split's training rows.

    Args:
        name: One of `NAMES`.
        split: The events, and which of them may be trained on.
        parameters: Parameters of the baseline, one of each list in grids.yaml.
        popular: Parameters of popularity, which answers for users that the baseline knows nothing about.
        seed: Seed of a library's training.
        threads: Threads of a library's process.
        kept: Folder that keeps long trainings of libraries. Protocols with equal training rows then share one. None:
            nothing is kept.
        say: Called with lines of progress.

    Returns:
        The baseline, and its parameters together with those that training found, such as epochs.

    Raises:
        BaselineFailed: There is no such baseline, a parameter is not a number, or the library fails.
        EnvironmentMissing: The environment of a library's baseline is not installed.
    """
    if name == "popularity":
        return _popularity(split, parameters), parameters
    fallback = _popularity(split, popular)
    history = History(split.known, _number(parameters, "other"), _optional(parameters, "half_life"))
    users, items, weights = history.training(np.flatnonzero(split.training))
    count = len(split.known.item_ids)
    if name == "item-knn":
        similarity = item_knn(
            users,
            items,
            weights,
            count,
            neighbours=int(_number(parameters, "neighbours")),
            shrinkage=_number(parameters, "shrinkage"),
            leaning=_number(parameters, "leaning"),
        )
        return ItemToItem(name, similarity, history, fallback), parameters
    if name == "ease":
        similarity = ease(users, items, weights, count, _number(parameters, "strength"))
        return ItemToItem(name, similarity, history, fallback), parameters
    if name not in SCRIPTS:
        raise BaselineFailed(f"no baseline is called {name!r}: there are {', '.join(NAMES)}")
    process = LibraryProcess(SCRIPTS[name], threads=threads, say=say)
    facts, found = process.fit(
        name,
        {
            "users": users,
            "items": items,
            "weights": weights,
            "user_count": np.array(len(split.known.user_ids)),
            "item_count": np.array(count),
        },
        {**parameters, "seed": seed, "threads": threads},
        timeout=_FIT_SECONDS,
        kept=kept if name in _KEPT else None,
    )
    row = LibraryMethod(name, process, found["items"], found["listed"].astype(np.bool_), history, fallback)
    return row, {**parameters, **{key: _value(value) for key, value in facts.items()}}


def close(row: Method) -> None:
    """Ends the process behind a baseline, if it has one."""
    if isinstance(row, LibraryMethod):
        row.close()


def _popularity(split: Training, parameters: Parameters) -> Popularity:
    # In next-item, earlier events of all users count. In other protocols, only training events count.
    everything = np.ones(len(split.known), np.bool_)
    counted = everything if split.name.startswith("next-item") else split.training
    if parameters["counted"] == "positive":
        counted = counted & split.known.positive
    # Synthetic timestamps give no age to weigh events by.
    half_life = _optional(parameters, "half_life_days") if split.known.timed else None
    return Popularity(split.known, counted, half_life)


def _optional(parameters: Parameters, name: str) -> float | None:
    return None if parameters.get(name) is None else _number(parameters, name)


def _number(parameters: Parameters, name: str) -> float:
    value = parameters.get(name)
    if not isinstance(value, (int, float)):
        raise BaselineFailed(f"{name} must be a number, not {value!r}")
    return float(value)


def _value(value: object) -> Value:
    return value if isinstance(value, (int, float, str)) else None
