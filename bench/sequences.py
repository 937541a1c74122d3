"""Learning curves on sequences of ids: NDCG@10 of the user vector on each user's last item but one, by epoch.

    bin/bench sequences --interactions FILE [--items FILE] [--epochs 12] [--every 2] \
      [--only NAME,NAME] [--curves curves.jsonl] [--picture FILE.svg]

Appends each point as a line of JSON to `--curves`. The chart shows all points in that file.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from rich.progress import Progress

from configuration.settings import load_settings
from evaluation.data import MODEL_SURFACE, data_of, labelled, list_settings
from evaluation.methods.lists import Retrieval
from evaluation.methods.torch_model import torch_model
from evaluation.metrics.measure import measure
from evaluation.protocols.split import Split, split
from evaluation.report.charts import Curve, curve_chart
from models.data.events import ItemText
from models.data.training_data import InMemoryData
from models.encoders.load import load_encoders
from models.network.recommender import Recommender
from models.network.sequence_model import ItemTable
from models.training.data_defaults import with_data_defaults
from models.training.distributed.devices import device_of
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import fit_encoder
from models.training.train import shape_of
from readers.files import Files, read_files

VARIANTS: dict[str, dict[str, object]] = {
    "as it is": {},
    "without attributes": {"labels": False},
    "width 128": {"width": 128, "channels": 384},
    "without skip connection": {"item_skip_connection": False},
}
"""The settings that each variant changes."""


def trained(
    name: str, files: Files, test: Split, items: list[ItemText], arguments: argparse.Namespace
) -> None:
    """Trains this variant and adds its points to the curves."""
    settings = load_settings()
    changes = dict(VARIANTS[name])
    if not changes.pop("labels", True):
        items = [ItemText(item.item_id, "") for item in items]
    has_content = any(item.text for item in items)
    wanted, _ = with_data_defaults(
        settings.train, timed=False, has_content=has_content, labels=has_content and labelled(files.items)
    )
    wanted = wanted.model_copy(update={"epochs": arguments.epochs, **changes})
    torch.manual_seed(wanted.seed)
    training_data, device = test.training_events, device_of("cpu", 0)
    encoders = load_encoders(wanted.encoders, items)
    inputs = encoders.vectors(test.known.item_ids, items, None, Progress(disable=True), device)
    trained_on = InMemoryData(training_data).seen_items()
    index = torch.from_numpy(trained_on.cumsum() * trained_on)
    model = Recommender(
        shape_of(encoders, InMemoryData(training_data), int(trained_on.sum()), wanted),
        wanted.dropout, wanted.id_dropout, wanted.media_dropout,
    )  # fmt: skip
    table = ItemTable(inputs.text, index, inputs.media)
    curve = _Curve(name, model, table, test, wanted, arguments)
    fit_encoder(
        model, InMemoryData(training_data), table, wanted, curve.on_step, after_epoch=curve.after_epoch
    )


class _Curve:
    """Measures the model every few epochs, and adds a point to the file of curves."""

    def __init__(
        self,
        name: str,
        model: Recommender,
        table: ItemTable,
        test: Split,
        settings: TrainSettings,
        arguments: argparse.Namespace,
    ) -> None:
        self._name, self._model, self._table, self._arguments = name, model, table, arguments
        self._test, self._settings = test, settings
        self._seconds, self._started, self._loss = 0.0, time.process_time(), float("nan")

    def on_step(self, share: float, loss: float) -> None:
        """Keeps the loss of the last step, for the next point."""
        self._loss = loss

    def after_epoch(self, epoch: int) -> None:
        """Measures after every `--every` epochs."""
        if epoch % self._arguments.every:
            return
        self._seconds += time.process_time() - self._started
        self._model.eval()
        with torch.no_grad():
            vectors = self._table.vectors(self._model).numpy()
        lists = list_settings(load_settings(), MODEL_SURFACE)
        row = Retrieval(self._test, [], torch_model(self._model, vectors, self._settings), lists)
        found = measure(self._test, row)
        point = {
            "name": self._name,
            "epoch": epoch,
            "seconds": round(self._seconds, 1),
            "loss": round(self._loss, 4),
            "hr@10": round(float(found.figure("hr@10").mean()), 5),
            "ndcg@10": round(float(found.figure("ndcg@10").mean()), 5),
        }
        print(json.dumps(point), flush=True)
        with self._arguments.curves.open("a") as file:
            file.write(json.dumps(point) + "\n")
        self._started = time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--items", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--curves", type=Path, default=Path("curves.jsonl"))
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    files = read_files(
        [arguments.interactions], [arguments.items] if arguments.items else [], format_name="sequences"
    )
    data = data_of(files, load_settings())
    test = split(data.known, "leave-one-out", "validation")
    for name in filter(None, arguments.only.split(",")):
        trained(name, files, test, list(data.items), arguments)
    if arguments.picture is not None:
        points = [json.loads(line) for line in arguments.curves.read_text().splitlines()]
        curves = [
            Curve(name, [(p["epoch"], p["ndcg@10"]) for p in points if p["name"] == name])
            for name in dict.fromkeys(p["name"] for p in points)
        ]
        title = f"{arguments.interactions.stem}: NDCG@10 on the last item but one, by epochs"
        arguments.picture.write_text(curve_chart(title, curves), encoding="utf-8")


if __name__ == "__main__":
    main()
