"""Distillation: the student alone, the teacher, and the distilled student, on MovieLens-100K.

    bin/bench distillation [--seeds 1] [--jobs 1] [--variant validation] \
        [--student epochs=12] [--teacher members=3]

Measures `next-item` by the user vector alone, as a mean over the seeds. Intervals of differences are from a paired
bootstrap over users. The student trains on all events in one stage (`held_out` 0), with the same settings alone and
distilled.

A second table has the parameters for user and item vectors, and the microseconds on one core to update a user's vector
after one more event. The student makes a step. The teacher runs over its whole window.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cli.terminal.progress import progress_on
from configuration.settings import load_settings
from evaluation.data import MODEL_SURFACE, Data, data_of, list_settings, teacher_methods
from evaluation.method import Method
from evaluation.methods.product import product_methods
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import measure
from evaluation.protocols.held_out import Variant
from evaluation.protocols.split import Split, split
from inference.bundle.bundle import read
from models.data.windows import Batch
from models.network.recommender import Recommender
from models.network.teacher import Teacher
from models.training.distillation import load_teacher, teacher_file
from models.training.settings import TeacherSettings, TrainSettings
from models.training.train import train_on
from models.training.training_weights import load_weights, weights_folder
from readers.files import Files
from readers.packaged import movielens

Numbers = NDArray[np.float64]
_CALLS = 200
ROWS = ("student alone", "teacher", "distilled student")


@dataclass(frozen=True, slots=True)
class Trained:
    """The results of one seed.

    Attributes:
        figures: NDCG@10 of each query, by row.
        costs: Name, parameters and microseconds an event of each model.
        seconds: The duration of each training.
    """

    figures: dict[str, Numbers]
    costs: list[tuple[str, int, float]]
    seconds: dict[str, float]


def main() -> None:
    """Trains, measures and prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="seeds to train at a time, on one thread each")
    parser.add_argument("--variant", choices=("validation", "test"), default="validation")
    parser.add_argument("--student", action="append", default=[], help="NAME=VALUE: a setting of train")
    parser.add_argument(
        "--teacher", action="append", default=[], help="NAME=VALUE: a setting of train.teacher"
    )
    asked = parser.parse_args()
    console = Console(width=120)
    settings = load_settings().train
    wanted = TrainSettings.model_validate(
        {
            **settings.model_dump(),
            **_named(asked.student),
            "held_out": 0.0,
            "threads": 1,
            "cache": Path(".recstream/item-vectors"),
            "teacher": {**settings.teacher.model_dump(), "members": 1, **_named(asked.teacher)},
        }
    )
    console.print(wanted.teacher)
    seeds = [wanted.model_copy(update={"seed": seed}) for seed in range(asked.seeds)]
    runs = []
    for seed, run in enumerate(_runs(seeds, asked.variant, asked.jobs)):
        runs.append(run)
        console.print(f"seed {seed}", {name: f"{each.mean():.4f}" for name, each in run.figures.items()})
    console.print(_table(_data(asked.variant)[1], runs, asked.variant))
    console.print(_costs(runs[0]))


def _named(texts: list[str]) -> dict[str, object]:
    return {name: json.loads(value) for name, _, value in (each.partition("=") for each in texts)}


def _runs(seeds: list[TrainSettings], variant: Variant, jobs: int) -> Iterator[Trained]:
    """Yields the results in the order of the seeds. Progress is shown only if one seed runs at a time."""
    if jobs == 1:
        yield from (_run(each, variant, True) for each in seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running = [pool.submit(_run, each, variant, False) for each in seeds]
        yield from (each.result() for each in running)


def _data(variant: Variant) -> tuple[Data, Split]:
    settings = load_settings()
    data = data_of(Files(movielens.interactions(), movielens.items(), []), settings)
    return data, split(data.known, "next-item", variant)


def _run(wanted: TrainSettings, variant: Variant, shown: bool) -> Trained:
    settings, (data, part) = load_settings(), _data(variant)
    with tempfile.TemporaryDirectory() as folder, progress_on(Console(width=120, quiet=not shown)) as show:
        folders = {name: Path(folder) / name for name in ("alone", "taught")}
        seconds = {}
        for name, place in folders.items():
            began = time.monotonic()
            own = wanted if name == "taught" else wanted.model_copy(update={"teacher": TeacherSettings()})
            train_on(part.training_events, data.items, own, place, show, continuable=True)
            seconds[name] = time.monotonic() - began
        rows: dict[str, Method] = {}
        for title, place in (("student alone", folders["alone"]), ("distilled student", folders["taught"])):
            lists = list_settings(settings, MODEL_SURFACE)
            methods = product_methods(part, data.items, data.catalogue, read(place), lists, show=show)
            rows[title] = methods[1]
        rows["teacher"] = teacher_methods(part, data, settings, folders["taught"], None, show)[0]
        figures = {title: measure(part, rows[title]).figure("ndcg@10") for title in ROWS}
        student = load_weights(weights_folder(folders["taught"])).model(wanted)
        teacher = load_teacher(teacher_file(folders["taught"]))[0]
        return Trained(figures, _measured(student.eval(), teacher, wanted), seconds)


def _table(part: Split, runs: list[Trained], variant: str) -> Table:
    bootstrap = Bootstrap(part.queries.users)
    mean = {title: np.mean([run.figures[title] for run in runs], axis=0) for title in ROWS}
    table = Table(
        title=f"next-item, {variant}, {len(part.queries):,} lists, {len(runs)} seeds", title_justify="left"
    )
    for name in ("", "NDCG@10", "95 %", "less the student alone", "less the teacher"):
        table.add_column(name)
    for title in ROWS:
        low, high = bootstrap.interval(mean[title])
        against = [_difference(bootstrap, mean[title], mean[other]) for other in ROWS[:2]]
        table.add_row(title, f"{mean[title].mean():.4f}", f"{low:.4f} to {high:.4f}", *against)
    return table


def _difference(bootstrap: Bootstrap, one: Numbers, other: Numbers) -> str:
    if one is other:
        return ""
    low, high = bootstrap.interval(one - other)
    share = (one - other).mean() / other.mean()
    return f"{(one - other).mean():+.4f} ({low:+.4f} to {high:+.4f}), {share:+.1%}"


def _measured(
    student: Recommender, teacher: Teacher, settings: TrainSettings
) -> list[tuple[str, int, float]]:
    """Returns name, parameters, and microseconds on one core for one more event of a user."""
    torch.set_num_threads(1)
    length = settings.history + settings.refold_every // 2
    given = Batch(
        torch.zeros(1, length, dtype=torch.long), torch.ones(1, length, dtype=torch.long), torch.ones(1, length),
        torch.full((1, length), 4.0), torch.ones(1, length), torch.zeros(1, length, dtype=torch.bool),
        np.zeros((1, length), np.int64), np.zeros(0, np.int64),
    )  # fmt: skip
    vectors = torch.randn(1, sum(member.item.ids.embedding_dim for member in teacher.each()))
    state, item = torch.zeros(1, settings.channels), torch.randn(1, settings.width)
    action, gap, value = torch.ones(1, dtype=torch.long), torch.ones(1), torch.full((1,), 4.0)
    found = []
    for title, modules, call in (
        ("student", (student.item, student.user), lambda: student.user.step(state, item, action, gap, value)),
        (f"teacher, {length} events", (teacher,), lambda: teacher.final_user_vectors(vectors, given)),
    ):
        count = sum(p.numel() for module in modules for p in module.parameters())
        found.append((title, count, _microseconds(call)))
    return found


def _costs(run: Trained) -> Table:
    table = Table(title="One more event of one user, one core", title_justify="left")
    for name in ("", "parameters", "MB", "microseconds"):
        table.add_column(name)
    for title, count, microseconds in run.costs:
        table.add_row(title, f"{count:,}", f"{count * 4 / 1e6:.2f}", f"{microseconds:.0f}")
    seconds = {name: f"{each:.0f}" for name, each in run.seconds.items()}
    table.caption = f"seconds of training: {seconds}"
    return table


@torch.inference_mode()
def _microseconds(call: Callable[[], object]) -> float:
    """Returns the median CPU time of a call."""
    spent = []
    for _ in range(_CALLS):
        began = time.process_time_ns()
        call()
        spent.append((time.process_time_ns() - began) / 1000)
    return float(np.median(spent))


if __name__ == "__main__":
    main()
