"""Baselines for evaluations: tuned on the validation variant of a split, then trained on its test variant."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from evaluation.baselines.fit import close, fit
from evaluation.baselines.interface import Method
from evaluation.baselines.tune import FITS, Tuned, tune
from evaluation.metrics.beyond import Beyond
from evaluation.metrics.measure import Measured, measure, ndcg
from evaluation.protocols.split import Split

SEEDED: Final = frozenset({"als", "bpr", "sasrec"})
"""Baselines that depend on the seed. The others give the same scores for every seed."""

POPULARITY: Final = "popularity"


def tuned(
    validation: Split,
    names: Sequence[str],
    folder: Path,
    *,
    threads: int = 1,
    say: Callable[[str], None] | None = None,
) -> dict[str, Tuned]:
    """Tunes baselines, and popularity, which the others fall back to.

    Args:
        validation: The validation variant of a split.
        names: The baselines.
        folder: Keeps the measurements, so that a repeated search costs nothing.
        threads: Threads of a library's process.
        say: Called with lines of progress.

    Returns:
        The best parameters by baseline, popularity included.

    Raises:
        BaselineFailed: A baseline could not be fitted.
        EnvironmentMissing: The environment of a library's baseline is not installed.
    """

    def on_validation(row: Method) -> float:
        return ndcg(validation, row)

    first = tune(POPULARITY, validation, on_validation, folder, threads=threads, say=say)
    found = {POPULARITY: first}
    for name in names:
        if name not in found:
            found[name] = tune(
                name, validation, on_validation, folder,
                popular=first.parameters, threads=threads, say=say,
            )  # fmt: skip
    return found


def measured(
    split: Split,
    name: str,
    parameters: Mapping[str, Tuned],
    *,
    seed: int = 0,
    threads: int = 1,
    folder: Path | None = None,
    beyond: Beyond | None = None,
    advance: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] | None = None,
) -> Measured:
    """Trains a baseline with its tuned parameters, and measures it.

    Args:
        split: The test variant of a split.
        name: The baseline.
        parameters: What `tuned` returned.
        seed: Seed of its training.
        threads: Threads of a library's process.
        folder: The folder of `tuned`. It also keeps long trainings of libraries. None: nothing is kept.
        beyond: Measures of the split's lists. None: they are computed here.
        advance: Called with the number of lists of each batch.
        say: Called with lines of progress.

    Raises:
        BaselineFailed: The baseline could not be fitted.
        EnvironmentMissing: The environment of a library's baseline is not installed.
    """
    row, _ = fit(
        name, split, parameters[name].parameters,
        popular=parameters[POPULARITY].parameters, seed=seed, threads=threads,
        kept=None if folder is None else folder / FITS, say=say,
    )  # fmt: skip
    try:
        return measure(split, row, beyond, advance)
    finally:
        close(row)
