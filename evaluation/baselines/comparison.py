"""Baselines as evaluations use them: tuned on the validation variant of a split, trained on its test variant."""

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
"""Those in which chance plays a part; the others are the same for every seed."""

POPULARITY: Final = "popularity"


def tuned(
    validation: Split,
    names: Sequence[str],
    folder: Path,
    *,
    threads: int = 1,
    say: Callable[[str], None] | None = None,
) -> dict[str, Tuned]:
    """Parameters of each baseline, and of popularity, which the others fall back to. `folder` keeps what was
    measured: the same search again costs nothing.

    Raises BaselineFailed, EnvironmentMissing.
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
    """A baseline with its tuned parameters, trained and measured. folder: that of `tuned`, which keeps long
    trainings of libraries too. Raises BaselineFailed, EnvironmentMissing."""
    row, _ = fit(
        name, split, parameters[name].parameters,
        popular=parameters[POPULARITY].parameters, seed=seed, threads=threads,
        kept=None if folder is None else folder / FITS, say=say,
    )  # fmt: skip
    try:
        return measure(split, row, beyond, advance)
    finally:
        close(row)
