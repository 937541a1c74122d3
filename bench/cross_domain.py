"""Films and groceries in one model: what each domain gains or loses, and how well text alone works for a third kind.

    make cross-domain [ARGS="--epochs 6 --users 500 --households 1000 --products 2000 --third PRODUCE"]

Uses parts of MovieLens-100K and Complete Journey, which have no users or items in common. The times of films are
shifted, so that the held-out tenth of events begins at the same time in both. The domains share only the model: one
head reads the texts of both, and one recurrence reads the histories of both.

Prints three tables. The first has the held-out events of each domain, with a model of that domain alone and with a
model of both. The second has purchases in a department without any training events, ranked among the products of that
department, which the models know only by their text. The third is the same for a whole domain, with the model of the
other domain.
"""

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from catalog.items.items import check, from_proto
from configuration.settings import load_settings
from evaluation.baselines.comparison import POPULARITY, tuned
from evaluation.baselines.fit import fit
from evaluation.data import MODEL_SURFACE, item_texts, list_settings, text_attributes
from evaluation.method import Method
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.lists import RankedLists, Retrieval
from evaluation.methods.torch_model import torch_model
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import measure
from evaluation.protocols.cold import NearestText, Pooled
from evaluation.protocols.domains import Chance, about, some
from evaluation.protocols.held_out import TEST_FROM
from evaluation.protocols.split import Split, split
from evaluation.result_cache import key_of
from models.data.events import Events, Floats, Ints, ItemText, index_events
from models.encoders.load import load_encoders
from models.network.sequence_model import ItemTable
from models.training.identity import TRAINING_FORMAT
from models.training.settings import TrainSettings
from models.training.train import train_on
from models.training.training_weights import TrainingWeights, load_weights, weights_folder
from profiles.actions import Actions
from readers.files import Files
from readers.interactions.interactions import Interactions
from readers.packaged import completejourney, movielens
from readers.packaged.domains import cut_time_ms, joined, namespaced, namespaced_items, shifted_to
from readers.packaged.subset import subset

Numbers = NDArray[np.float64]
FILMS, GROCERIES = "films", "groceries"


class Bench:
    """Both data sets, and models that are trained on parts of them."""

    def __init__(self, asked: argparse.Namespace, console: Console) -> None:
        self.all, self.asked, self.console = load_settings(), asked, console
        groceries = subset(
            completejourney.interactions(),
            users=asked.households, items=asked.products, events=asked.events, seed=asked.seed,
        )  # fmt: skip
        films = subset(movielens.interactions(), users=asked.users, items=10**9, events=asked.events)
        films = shifted_to(films, TEST_FROM, cut_time_ms(groceries, TEST_FROM))
        self.rows = {FILMS: namespaced(films, FILMS), GROCERIES: namespaced(groceries, GROCERIES)}
        products = {groceries.item_ids.names[code] for code in np.unique(groceries.items)}
        catalogue = [item for item in completejourney.items() if item.item_id in products]
        messages = {
            FILMS: namespaced_items(movielens.items(), FILMS),
            GROCERIES: namespaced_items(catalogue, GROCERIES),
        }
        read = text_attributes([item for some in messages.values() for item in some])
        self.items = {
            name: item_texts(Files(rows, messages[name], []), read) for name, rows in self.rows.items()
        }
        self.catalogue = [from_proto(item) for some in messages.values() for item in some if not check(item)]
        department = {item.item_id: next(iter(item.categories), "") for item in messages[GROCERIES]}
        self.third = {item_id for item_id, name in department.items() if name == asked.third}
        profiles = self.all.profiles
        self.settings: TrainSettings = self.all.train.model_copy(
            update={
                "history": profiles.history, "refold_every": profiles.refold_every, "actions": profiles.actions,
                "epochs": asked.epochs, "final_epochs": max(1, asked.epochs // 2), "negatives": 8192,
                "cache": asked.folder / "item-vectors", "threads": asked.threads, "seed": asked.seed, "device": "cpu",
                "text_attributes": read,
            }
        )  # fmt: skip
        torch.set_num_threads(asked.threads)
        self._encoders = load_encoders(self.settings.encoders)
        self._code = TRAINING_FORMAT

    def events(self, rows: Interactions, items: Sequence[ItemText]) -> Events:
        """Returns the events in the form of training and evaluation."""
        return index_events([rows], items, Actions(self.settings.actions))

    def trained(self, names: Sequence[str], *, but: Collection[str] = ()) -> TrainingWeights:
        """Trains on the training parts of these domains without the events of `but`, unless an earlier run did."""
        parts = [self.rows[name].split(TEST_FROM)[0] for name in names]
        rows = joined(parts)
        left = np.array([name not in but for name in rows.item_ids.names])[rows.items]
        items = [item for name in names for item in self.items[name] if item.item_id not in but]
        training_data = self.events(rows.take(np.flatnonzero(left)), items)
        wanted = self.settings.model_dump(
            mode="json", exclude={"threads", "cache", "continuation", "streaming"}
        )
        bundle = self.asked.folder / key_of(training_data.fingerprint(), wanted, self._code)
        title = " and ".join(names) + (f" without {self.asked.third}" if but else "")
        if not weights_folder(bundle).exists():
            self.asked.folder.mkdir(parents=True, exist_ok=True)
            manifest = train_on(training_data, items, self.settings, bundle, continuable=True)
            said = f"{title}: {len(training_data):,} events, {manifest.metrics['seconds']:.0f} s"
            self.console.print(said, highlight=False)
        return load_weights(weights_folder(bundle))

    def texts(self, part: Split, items: Sequence[ItemText]) -> Floats:
        """Returns the text vectors of the split's items."""
        show = Progress(disable=True)
        found: Floats = self._encoders.vectors(
            part.known.item_ids, items, self.settings.cache, show, torch.device("cpu")
        ).text.numpy()
        return found

    def lists(self, part: Split, items: Sequence[ItemText], weights: TrainingWeights) -> RankedLists:
        """Returns the lists of this model. It knows items without training events only by their text."""
        settings = list_settings(self.all, MODEL_SURFACE)
        return RankedLists(part, self.catalogue, self.model(part, items, weights), settings)

    def retrieval(self, part: Split, items: Sequence[ItemText], weights: TrainingWeights) -> Retrieval:
        """Returns lists by the user vector alone."""
        settings = list_settings(self.all, MODEL_SURFACE)
        return Retrieval(part, self.catalogue, self.model(part, items, weights), settings)

    def model(self, part: Split, items: Sequence[ItemText], weights: TrainingWeights) -> EvaluatedModel:
        """Returns the model with the vectors of the split's items."""
        model = weights.model(self.settings)
        index = torch.from_numpy(weights.indices(part.known.item_ids))
        with torch.inference_mode():
            table = ItemTable(torch.from_numpy(self.texts(part, items)), index)
            vectors = table.vectors(model.eval()).numpy()
        return torch_model(model, vectors, self.settings)

    def popularity(self, known: Events, part: Split) -> Method:
        """Returns popularity with the half-life that is best on the validation part."""
        validation = some(split(known, "next-item", "validation"), self.asked.queries)
        found = tuned(validation, [POPULARITY], self.asked.folder / "tuning")[POPULARITY].parameters
        return fit(POPULARITY, part, found, popular=found)[0]


class Figures:
    """A table of methods on one split. Each row is compared with the first one."""

    def __init__(self, title: str, part: Split) -> None:
        self._part, self._bootstrap = part, Bootstrap(part.queries.users)
        users = len(set(part.queries.users.tolist()))
        self.table = Table(
            "", "NDCG@10", "95 %", "HR@10", "minus the first, 95 %", "above it",
            title=f"{title}: {len(part.queries):,} lists of {users:,} users", title_justify="left",
        )  # fmt: skip
        self._first: Numbers | None = None

    def add(self, name: str, row: Method, part: Split | None = None) -> None:
        """Measures a method and adds its row. `part` has the same queries over other items."""
        found = measure(part or self._part, row)
        ndcg = found.figure("ndcg@10")
        self._first = ndcg if self._first is None else self._first
        gain = ndcg - self._first
        difference = ("", "")
        if gain.any():
            low, high = self._bootstrap.interval(gain)
            above = self._bootstrap.above(ndcg, self._first)
            difference = f"{gain.mean():+.4f} ({low:+.4f} to {high:+.4f})", f"{above:.3f}"
        interval = "{:.4f} to {:.4f}".format(*self._bootstrap.interval(ndcg))
        self.table.add_row(
            name, f"{ndcg.mean():.4f}", interval, f"{found.figure('hr@10').mean():.4f}", *difference
        )


def main() -> None:
    """Trains, measures and prints the tables."""
    asked, console = _asked(), Console(width=120)
    bench = Bench(asked, console)
    models = {name: bench.trained([name]) for name in (FILMS, GROCERIES)}
    both = bench.trained([FILMS, GROCERIES])
    for name in (FILMS, GROCERIES):
        console.print(_own_domain(bench, name, models[name], both).table)
    console.print(_third_kind(bench, models[FILMS], both).table)
    for name, other in ((FILMS, GROCERIES), (GROCERIES, FILMS)):
        console.print(_other_domain(bench, name, models[other], other).table)


def _parts(bench: Bench, name: str) -> tuple[Events, Split, Split]:
    """Returns a domain's events, its split over its own items, and the same split over the items of both domains."""
    known = bench.events(bench.rows[name], bench.items[name])
    whole = bench.events(bench.rows[name], [*bench.items[FILMS], *bench.items[GROCERIES]])
    own, of_both = (some(split(one, "next-item"), bench.asked.queries) for one in (known, whole))
    return known, own, of_both


def _own_domain(bench: Bench, name: str, alone: TrainingWeights, both: TrainingWeights) -> Figures:
    known, own, of_both = _parts(bench, name)
    found = Figures(f"{name}, held-out events", own)
    every = [*bench.items[FILMS], *bench.items[GROCERIES]]
    for model, weights in (("alone", alone), ("with the other", both)):
        found.add(f"{model}: lists", bench.lists(own, bench.items[name], weights))
        found.add(f"{model}: user vector", bench.retrieval(own, bench.items[name], weights))
    found.add("with the other, among items of both: lists", bench.lists(of_both, every, both), of_both)
    retrieval = bench.retrieval(of_both, every, both)
    found.add("with the other, among items of both: user vector", retrieval, of_both)
    found.add("popularity", bench.popularity(known, own))
    found.add("chance", Chance(len(known.item_ids)))
    return found


def _third_kind(bench: Bench, films: TrainingWeights, both: TrainingWeights) -> Figures:
    known = bench.events(bench.rows[GROCERIES], bench.items[GROCERIES])
    pool = _codes_of(known, bench.third)
    part = some(about(split(known, "next-item"), pool), bench.asked.queries)
    title = f"{bench.asked.third}, {len(pool)} products without training events, ranked among themselves"
    models: dict[str, Callable[[], TrainingWeights]] = {
        "films and the other groceries": lambda: bench.trained([FILMS, GROCERIES], but=bench.third),
        "the other groceries": lambda: bench.trained([GROCERIES], but=bench.third),
        "films": lambda: films,
        "for comparison, trained on them too": lambda: both,
    }
    return _by_text(bench, GROCERIES, part, pool, title, models)


def _other_domain(bench: Bench, name: str, weights: TrainingWeights, other: str) -> Figures:
    known, own, _ = _parts(bench, name)
    title = f"{name} by the model of {other}"
    return _by_text(bench, name, own, np.arange(len(known.item_ids)), title, {other: lambda: weights})


def _by_text(
    bench: Bench,
    name: str,
    part: Split,
    pool: Ints,
    title: str,
    models: dict[str, Callable[[], TrainingWeights]],
) -> Figures:
    found = Figures(title, part)
    items, known = bench.items[name], part.known
    found.add("nearest text", Pooled(NearestText(known, bench.texts(part, items)), pool))
    for model, trained in models.items():
        found.add(f"user vector of {model}", Pooled(bench.retrieval(part, items, trained()), pool))
    found.add("popularity", Pooled(bench.popularity(known, part), pool))
    found.add("chance", Pooled(Chance(len(known.item_ids)), pool))
    return found


def _codes_of(known: Events, item_ids: set[str]) -> Ints:
    return np.flatnonzero([item_id in item_ids for item_id in known.item_ids])


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6, help="epochs; the last stage has half as many")
    parser.add_argument("--users", type=int, default=500, help="users of films")
    parser.add_argument("--households", type=int, default=1000, help="users of groceries")
    parser.add_argument(
        "--products", type=int, default=2000, help="products: the most bought before those events"
    )
    parser.add_argument(
        "--events", type=int, default=100_000, help="number of events of each: the latest ones"
    )
    parser.add_argument("--third", default="PRODUCE", help="the department that is the third kind")
    parser.add_argument("--queries", type=int, default=3000, help="most lists of a table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".recstream/cross-domain"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
