"""Cold-start items: how the share of ids dropped in training changes their recall, and the quality of other items.

    bin/bench cold_items [--id-dropout 0.1,0.3,0.5] [--seeds 3] [--validation]

Uses MovieLens-100K. A tenth of the films is hidden from training and from all histories, another tenth for each seed.
The first seed is that of `recstream evaluate --protocol cold-items`. The last column measures the same model on all
other films in the same events, one at a time. `--validation` uses the events from 80 to 90 % instead of the last tenth,
to choose settings.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from configuration.settings import load_settings
from evaluation.data import MODEL_SURFACE, Data, data_of, list_settings
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.product import cold_methods_of
from evaluation.methods.torch_model import torch_model
from evaluation.metrics.measure import measure
from evaluation.protocols.cold import ColdMethod, ColdResult, cold_items
from evaluation.protocols.held_out import Variant
from evaluation.protocols.split import Split, split
from evaluation.result_cache import key_of
from models.data.events import Floats
from models.encoders.load import load_encoders
from models.network.sequence_model import ItemTable
from models.training.identity import TRAINING_FORMAT
from models.training.settings import TrainSettings
from models.training.train import train_on
from models.training.training_weights import TrainingWeights, load_weights, weights_folder
from readers.files import Files
from readers.packaged import movielens


@dataclass(frozen=True)
class Measured:
    """The results of one seed.

    Attributes:
        cold: The result for hidden items.
        shown: NDCG@10 of all other items, by row.
    """

    cold: ColdResult
    shown: dict[str, float]


class Bench:
    """The data, and models that are trained on it in this process."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._all, self._folder = load_settings(), asked.folder
        self._variant: Variant = "validation" if asked.validation else "test"
        self.data: Data = data_of(Files(movielens.interactions(), movielens.items(), []), self._all)
        self._lists = list_settings(self._all, MODEL_SURFACE)
        profiles, train = self._all.profiles, self._all.train
        self.settings: TrainSettings = train.model_copy(
            update={
                "history": profiles.history, "refold_every": profiles.refold_every, "actions": profiles.actions,
                "epochs": asked.epochs or train.epochs, "final_epochs": asked.final_epochs or train.final_epochs,
                "cache": asked.folder / "item-vectors", "threads": asked.threads, "device": "cpu",
            }
        )  # fmt: skip
        torch.set_num_threads(asked.threads)
        self._inputs = load_encoders(self.settings.encoders).vectors(
            self.data.known.item_ids, self.data.items, self.settings.cache, Progress(disable=True)
        )

    def measured(self, id_dropout: float, seed: int) -> Measured:
        """Measures with this share of ids dropped in training, and with the hidden items of this seed."""
        settings = self.settings.model_copy(update={"id_dropout": id_dropout})
        shown = split(self.data.known, "shown-items", self._variant, seed)
        weights = self._trained(shown, settings)
        text = self._inputs.text.numpy()

        def rows(part: Split) -> list[ColdMethod]:
            model = self._model(part, weights, settings)
            share = self._all.ranking.default.exploration_share
            return cold_methods_of(part, self.data.catalogue, model, self._lists, text, share)

        cold = cold_items(self.data.known, rows, variant=self._variant, seed=seed)
        others = {
            row.lists.name: float(measure(shown, row.lists).figure("ndcg@10").mean()) for row in rows(shown)
        }
        return Measured(cold, others)

    def _model(self, part: Split, weights: TrainingWeights, settings: TrainSettings) -> EvaluatedModel:
        model = weights.model(settings)
        index = torch.from_numpy(weights.indices(part.known.item_ids))
        with torch.inference_mode():
            vectors: Floats = ItemTable(self._inputs.text, index).vectors(model.eval()).numpy()
        return torch_model(model, vectors, settings)

    def _trained(self, part: Split, settings: TrainSettings) -> TrainingWeights:
        """Trains, unless an earlier run has stored the weights."""
        training_data = part.training_events
        wanted = settings.model_dump(mode="json", exclude={"threads", "cache", "fresh", "streaming"})
        bundle = self._folder / key_of(training_data.fingerprint(), wanted, TRAINING_FORMAT)
        if not weights_folder(bundle).exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            train_on(training_data, self.data.items, settings, bundle, continuable=True)
        return load_weights(weights_folder(bundle))


def main() -> None:
    """Trains, measures and prints one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--id-dropout", default="", help="shares, separated by commas; default: the setting")
    parser.add_argument("--seeds", type=int, default=1, help="number of choices of hidden films")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--final-epochs", type=int, default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(".recstream/cold-items"))
    asked = parser.parse_args()
    console, bench = Console(width=130), Bench(asked)
    shares = [float(share) for share in asked.id_dropout.split(",") if share] or [bench.settings.id_dropout]
    table = Table(
        "ids dropped", "row", "hidden among all", "x chance", "hidden among hidden", "known among as many",
        "hidden / known", "NDCG@10 of the others",
        title=f"Recall@10, mean of {asked.seeds} choice(s) of hidden films (min to max)", title_justify="left",
    )  # fmt: skip
    for share in shares:
        seeds = [bench.measured(share, seed) for seed in range(asked.seeds)]
        for place, row in enumerate(seeds[0].cold.rows):
            table.add_row(f"{share:g}", row.name, *_cells(seeds, place, row.name))
        console.print(f"{share:g} of ids dropped: measured", highlight=False)
    chance = {name: np.mean([seed.cold.chance[name] for seed in seeds]) for name in ("full", "cold", "warm")}
    table.add_row(
        "", "chance", f"{chance['full']:.4f}", "1", f"{chance['cold']:.4f}", f"{chance['warm']:.4f}", ""
    )
    console.print(table)
    queries = [sum(seed.cold.queries[name] for seed in seeds) for name in ("cold", "warm")]
    console.print(
        f"{queries[0]:,} lists ask for hidden films, {queries[1]:,} for as many known ones", highlight=False
    )


def _cells(seeds: list[Measured], place: int, name: str) -> list[str]:
    rows = [(seed.cold.rows[place], seed.cold.chance["full"]) for seed in seeds]
    return [
        _range([row.recall["full"] for row, _ in rows], 4),
        _range([row.recall["full"] / chance for row, chance in rows], 1),
        _range([row.recall["cold"] for row, _ in rows], 3),
        _range([row.recall["warm"] for row, _ in rows], 3),
        _range([row.of_warm for row, _ in rows], 2),
        _range([seed.shown[name] for seed in seeds], 4),
    ]


def _range(values: list[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
