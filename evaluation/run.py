"""Measures all methods of a table, and shows progress."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import Progress

from evaluation.baselines.comparison import SEEDED, measured, tuned
from evaluation.baselines.fit import NAMES
from evaluation.baselines.interface import Parameters
from evaluation.errors import EvaluationError
from evaluation.method import Method
from evaluation.metrics.beyond import Beyond
from evaluation.metrics.measure import mean, measure
from evaluation.protocols.split import Split, split
from evaluation.report.results import MeasuredMethod
from models.data.events import Events


def measure_methods(test: Split, rows: Sequence[Method], show: Progress) -> list[MeasuredMethod]:
    """Measures methods of the product. `show` is where progress is shown."""
    beyond, found = Beyond(test), []
    for row in rows:
        advance = _bar(show, f"Lists of {row.name}", len(test.queries))
        found.append(MeasuredMethod(measure(test, row, beyond, advance), baseline=False))
    return found


def measure_baselines(
    known: Events,
    test: Split,
    names: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    threads: int,
    show: Progress,
) -> list[MeasuredMethod]:
    """Tunes baselines on the validation variant of a split, and measures them on the test variant.

    Args:
        known: All events.
        test: The test variant.
        names: The baselines.
        seeds: Baselines that depend on the seed are measured as means over these.
        folder: Keeps the measurements of tuning.
        threads: Threads of a library's process.
        show: Where progress is shown.

    Raises:
        EvaluationError: There is no baseline of that name.
        BaselineFailed: A baseline could not be fitted.
        EnvironmentMissing: The environment of a library's baseline is not installed.
        NothingToMeasure: The validation variant has no target.
    """
    if unknown := sorted(set(names) - set(NAMES)):
        raise EvaluationError(f"no baseline is called {', '.join(unknown)}: there are {', '.join(NAMES)}")
    if not names:
        return []
    task = show.add_task("Tuning the baselines", total=None)

    def say(text: str) -> None:
        show.update(task, description=text)

    parameters = tuned(split(known, test.name, "validation"), names, folder, threads=threads, say=say)
    show.update(task, description="Baselines tuned", total=1, completed=1)
    beyond, found = Beyond(test), []
    for name in names:
        own = seeds if name in SEEDED else seeds[:1]
        advance = _bar(show, f"Lists of {name}", len(test.queries) * len(own))
        runs = [
            measured(
                test,
                name,
                parameters,
                seed=seed,
                threads=threads,
                folder=folder,
                beyond=beyond,
                advance=advance,
            )
            for seed in own
        ]
        found.append(
            MeasuredMethod(
                mean(runs), baseline=True, seeds=len(own), note=_words(parameters[name].parameters)
            )
        )
    return found


def _bar(show: Progress, title: str, total: int) -> Callable[[int], None]:
    task = show.add_task(title, total=total)
    return lambda done: show.advance(task, done)


def _words(parameters: Parameters) -> str:
    return "tuned: " + ", ".join(f"{name} {'none' if v is None else v}" for name, v in parameters.items())
