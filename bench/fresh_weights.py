"""Fresh weights: compares unchanged, continued and retrained weights on MovieLens-100K, one slice of time at a time.

    bin/bench fresh_weights [--slices 5] [--anew] [--validation] [--seeds 1]

Before each slice the model continues its training on the events of the previous slice, as `recstream train --continue`
does. Each slice after the first is then evaluated event by event (`next-item`): with the unchanged weights of the first
training, with the continued weights, and with a model that is retrained on all events so far (`--anew`). All see the
same histories and the same popularity, so only the weights differ. `--validation` uses the events from 80 to 90 %
instead of the last tenth, to choose settings.
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from configuration.settings import load_settings
from evaluation.data import MODEL_SURFACE, Data, data_of, list_settings
from evaluation.methods.lists import RankedLists, Retrieval
from evaluation.methods.torch_model import torch_model
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import measure
from evaluation.protocols.held_out import TEST_FROM, VALIDATION_FROM
from evaluation.protocols.split import Split, next_items
from evaluation.result_cache import key_of
from models.encoders.load import ItemInputs, load_encoders
from models.network.sequence_model import ItemTable
from models.training.continuation import continued_weights
from models.training.identity import TRAINING_FORMAT
from models.training.settings import TrainSettings
from models.training.train import train_on
from models.training.training_weights import TrainingWeights, load_weights, weights_folder
from readers.files import Files
from readers.packaged import movielens

Numbers = NDArray[np.float64]
ROWS = ("lists", "user vector")


@dataclass
class Ways:
    """The results of the ways to update weights.

    Attributes:
        figures: NDCG@10 of each query so far, by way and row, one array a slice.
        seconds: The duration of each update, by way.
        users: The user of each query, one array a slice.
    """

    figures: dict[tuple[str, str], list[Numbers]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    users: list[NDArray[np.int64]] = field(default_factory=list)


class Bench:
    """The data, and models that are trained on it in this process."""

    def __init__(self, folder: Path, threads: int, seed: int) -> None:
        self._all, self._folder = load_settings(), folder
        self.data: Data = data_of(Files(movielens.interactions(), movielens.items(), []), self._all)
        profiles = self._all.profiles
        self.settings: TrainSettings = self._all.train.model_copy(
            update={
                "history": profiles.history,
                "refold_every": profiles.refold_every,
                "actions": profiles.actions,
                "cache": folder / "item-vectors",
                "threads": threads,
                "seed": seed,
                "device": "cpu",
            }
        )
        torch.set_num_threads(threads)
        encoders = load_encoders(self.settings.encoders)
        self.inputs: ItemInputs = encoders.vectors(
            self.data.known.item_ids, self.data.items, self.settings.cache, Progress(disable=True)
        )

    def trained(self, end: int) -> tuple[TrainingWeights, float]:
        """Trains on the events before row `end`, unless an earlier run did. Returns the weights and the seconds."""
        training_data = self.data.known.take(np.arange(end))
        wanted = self.settings.model_dump(mode="json", exclude={"threads", "cache", "continuation"})
        bundle = self._folder / key_of(training_data.fingerprint(), wanted, TRAINING_FORMAT)
        if not weights_folder(bundle).exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            train_on(training_data, self.data.items, self.settings, bundle, continuable=True)
            (self._folder / f"{bundle.name}.seconds").write_text(str(time.monotonic() - began))
        return load_weights(weights_folder(bundle)), float(
            (self._folder / f"{bundle.name}.seconds").read_text()
        )

    def continued(self, weights: TrainingWeights, end: int) -> tuple[TrainingWeights, float]:
        """Continues the training up to row `end`. Returns the weights and the seconds."""
        began = time.monotonic()
        known = self.data.known.take(np.arange(end))
        show = Progress(disable=True)
        made = continued_weights(weights, known, self.inputs, self.settings, show, torch.device("cpu"))
        return made.weights, time.monotonic() - began

    def measured(self, part: Split, weights: TrainingWeights) -> dict[str, Numbers]:
        """Returns NDCG@10 of each query, for the served lists and for the user vector alone."""
        model = weights.model(self.settings)
        index = torch.from_numpy(weights.indices(part.known.item_ids))
        with torch.inference_mode():
            vectors = ItemTable(self.inputs.text, index, self.inputs.media).vectors(model.eval()).numpy()
        evaluated = torch_model(model, vectors, self.settings)
        methods = [
            kind(part, self.data.catalogue, evaluated, list_settings(self._all, MODEL_SURFACE))
            for kind in (RankedLists, Retrieval)
        ]
        return {
            name: measure(part, method).figure("ndcg@10") for name, method in zip(ROWS, methods, strict=True)
        }


def main() -> None:
    """Trains, continues, measures and prints one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(".recstream/fresh-weights"))
    asked = parser.parse_args()
    console = Console(width=120)
    seeds = [_run(Bench(asked.folder, asked.threads, seed), asked, console) for seed in range(asked.seeds)]
    _print(seeds, console)


def _run(bench: Bench, asked: argparse.Namespace, console: Console) -> Ways:
    rows = len(bench.data.known)
    start, end = (VALIDATION_FROM, TEST_FROM) if asked.validation else (TEST_FROM, 1.0)
    cuts = np.linspace(int(rows * start), int(rows * end), asked.slices + 1).astype(int).tolist()
    old, seconds = bench.trained(cuts[0])
    fresh, ways = old, Ways(seconds={"first training": [seconds]})
    for place in range(1, asked.slices):
        part = next_items(bench.data.known, cuts[place], cuts[place + 1])
        fresh, took = bench.continued(fresh, cuts[place])
        ways.seconds.setdefault("continued", []).append(took)
        models = {"unchanged": old, "continued": fresh}
        if asked.anew:
            models["retrained"], took = bench.trained(cuts[place])
            ways.seconds.setdefault("retrained", []).append(took)
        ways.users.append(part.queries.users)
        for way, weights in models.items():
            for row, figures in bench.measured(part, weights).items():
                ways.figures.setdefault((way, row), []).append(figures)
        said = {way: f"{ways.figures[way, ROWS[0]][-1].mean():.4f}" for way in models}
        console.print(
            f"slice {place + 1}, {len(part.queries)} queries, NDCG@10 of lists: {said}", highlight=False
        )
    return ways


def _print(seeds: list[Ways], console: Console) -> None:
    users = np.concatenate(seeds[0].users)
    bootstrap = Bootstrap(users)
    table = Table(
        "weights", "row", "NDCG@10", "gain over unchanged, 95 %", "probability", "seconds",
        title=f"{len(users):,} queries of {len(set(users.tolist()))} users, {len(seeds)} seed(s)", title_justify="left",
    )  # fmt: skip
    for way, row in seeds[0].figures:
        one, other = (
            np.mean([np.concatenate(seed.figures[name, row]) for seed in seeds], axis=0)
            for name in (way, "unchanged")
        )
        low, high = bootstrap.interval(one - other)
        seconds = [took for seed in seeds for took in seed.seconds.get(way, [])]
        gain = (
            f"{(one - other).mean():+.4f} ({low:+.4f} to {high:+.4f})",
            f"{bootstrap.above(one, other):.3f}",
        )
        table.add_row(
            way, row, f"{one.mean():.4f}", *(("", "") if way == "unchanged" else gain),
            f"{np.mean(seconds):.1f}" if seconds else "",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
