"""Training objectives: compares them by the user vector alone, on the validation part of MovieLens-100K.

    bin/bench objectives [--seeds 1] [--epochs 12] [--only NUMBER,NUMBER]

`next-item` measures the prediction of the next item. For the films that a user rates later, the share of (liked,
disliked) pairs in the right order measures how well the same model tells liked from disliked films.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from configuration.settings import load_settings
from evaluation.data import MODEL_SURFACE, Data, data_of, list_settings
from evaluation.method import Method
from evaluation.methods.product import product_methods
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import measure
from evaluation.protocols.split import Split, split
from inference.bundle.bundle import read
from models.training.settings import TrainSettings
from models.training.train import train_on
from readers.files import Files
from readers.packaged import movielens

OBJECTIVES: dict[str, dict[str, object]] = {
    "cosine, full softmax": {},
    "inner product, full softmax": {"temperature": None},
    "cosine, sample of 256 with logQ": {"negatives": 256},
    "cosine, next event only": {"long_term_weight": 0.0},
    "cosine, half by advantage": {"advantage": 0.5},
    "cosine, all by advantage": {"advantage": 1.0},
}

Numbers = NDArray[np.float64]


def main() -> None:
    """Trains, measures and prints one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--only",
        default=",".join(str(n) for n in range(len(OBJECTIVES))),
        help="numbers of objectives, from 0",
    )
    asked = parser.parse_args()
    settings, console = load_settings(), Console(width=120)
    data = data_of(Files(movielens.interactions(), movielens.items(), []), settings)
    parts = split(data.known, "next-item", "validation"), split(data.known, "future", "validation")
    base = settings.train.model_copy(
        update={
            "held_out": 0.0,
            "threads": asked.threads,
            "epochs": asked.epochs or settings.train.epochs,
            "cache": Path(".recstream/item-vectors"),
        }
    )
    table = Table("objective", "NDCG@10", "95 %", "above the first", "liked above disliked", "seconds")
    bootstrap, first = Bootstrap(parts[0].queries.users), None
    for place in (int(part) for part in asked.only.split(",")):
        name = list(OBJECTIVES)[place]
        runs = [
            _run(base.model_copy(update={**OBJECTIVES[name], "seed": seed}), data, *parts)
            for seed in range(asked.seeds)
        ]
        figures: Numbers = np.mean([run[0] for run in runs], axis=0)
        first = figures if first is None else first
        low, high = bootstrap.interval(figures)
        table.add_row(
            name,
            f"{figures.mean():.4f}",
            f"{low:.4f} to {high:.4f}",
            f"{bootstrap.above(figures, first):.3f}",
            f"{np.mean([run[1] for run in runs]):.4f}",
            f"{np.mean([run[2] for run in runs]):.0f}",
        )
        console.print(f"{name}: {figures.mean():.4f}", highlight=False)
    console.print(table)


def _run(
    settings: TrainSettings, data: Data, following: Split, future: Split
) -> tuple[Numbers, float, float]:
    """Returns NDCG@10 of each query, the share of pairs in the right order, and the seconds of training."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        train_on(following.training_events, data.items, settings, Path(folder) / "bundle")
        seconds = time.monotonic() - began
        bundle, lists = read(Path(folder) / "bundle"), list_settings(load_settings(), MODEL_SURFACE)
        next_item, later = (
            product_methods(part, data.items, data.catalogue, bundle, lists)[1]
            for part in (following, future)
        )
        return measure(following, next_item).figure("ndcg@10"), _in_order(future, later), seconds


def _in_order(part: Split, row: Method) -> float:
    """Returns the mean share of (liked, disliked) pairs with the liked item above, over users who rate both kinds."""
    known, start = part.known, int(part.queries.visible[0])
    later = np.arange(start, len(known))
    later = later[np.isfinite(known.values[later])]
    shares = []
    for place, user in enumerate(part.queries.users):
        own = later[known.users[later] == user]
        liked, other = known.items[own[known.positive[own]]], known.items[own[~known.positive[own]]]
        if len(liked) and len(other):
            scores = row.scores(part.queries.part(place, place + 1))[0]
            shares.append(float((scores[liked][:, None] > scores[other]).mean()))
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
