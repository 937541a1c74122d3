"""From events and items to a bundle."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from inference.bundle import Manifest
from models.bundling import write_bundle
from models.data import Events, Floats, InteractionTable, Ints, ItemText, events
from models.encoders.load import Encoders, load
from models.errors import NothingToLearn
from models.fit_encoder import ItemTable, fit_encoder
from models.fit_mixture import Surroundings, fit_mixture
from models.fit_ranker import fit_ranker
from models.popularity import PopularityHistory
from models.recommender import Recommender, Shape
from models.settings import TrainSettings
from profiles.actions import Actions


def train(
    interactions: InteractionTable,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
) -> Manifest:
    """Trains a model on the events and writes it to the folder `bundle`, replacing what is there at the end.

    Equal data, settings and machine give an equal model. Only `interactions` are learned from: items that occur
    in `items` alone get no id embedding, and only their text is known. `progress` shows bars for the stages.

    Raises NothingToLearn, ExportFailed, EncoderNotFound.
    """
    return train_on(
        events([interactions], items, Actions(settings.actions)), items, settings, bundle, progress
    )


def train_on(
    learned: Events,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
    fingerprint: str | None = None,
) -> Manifest:
    """As `train`, for events that are indexed already: rows of `learned` are what is learned from, whatever else its
    lists of ids name. fingerprint: of the events before preparation, which is how an evaluation knows its own part;
    None: that of `learned`."""
    if not len(learned):
        raise NothingToLearn("preparation left no event to learn from: lower its minimum counts")
    show = progress or Progress(disable=True)
    started = time.monotonic()
    torch.set_num_threads(settings.threads)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    torch.manual_seed(settings.seed)
    encoders = load(settings.encoders)
    inputs = encoders.vectors(learned.item_ids, items, settings.cache, show)
    training = _Training(learned, items, encoders, inputs.text, inputs.media, settings, show)
    model, losses = training.run()

    export = show.add_task("Export and check", total=4 + len(encoders.media))
    return write_bundle(
        bundle,
        model,
        encoders,
        [learned.item_ids[place] for place in np.flatnonzero(training.trained)],
        settings,
        metrics={
            **losses,
            "events": float(len(learned)),
            "seconds": time.monotonic() - started,
        },
        fingerprint=fingerprint or learned.fingerprint(),
        exported=lambda name: show.advance(export),
    )


class _Training:
    """The stages, one after another."""

    def __init__(
        self,
        learned: Events,
        items: Sequence[ItemText],
        encoders: Encoders,
        text: torch.Tensor,
        media: dict[str, torch.Tensor],
        settings: TrainSettings,
        show: Progress,
    ) -> None:
        self._learned, self._items, self._settings, self._show = learned, items, settings, show
        self._encoders = encoders
        self.trained = np.zeros(len(learned.item_ids), np.bool_)
        self.trained[learned.items] = True
        index = np.where(self.trained, np.cumsum(self.trained), 0)
        self._table = ItemTable(text, torch.from_numpy(index), media)
        self._shape = _shape(encoders, learned, int(self.trained.sum()), settings)

    def run(self) -> tuple[Recommender, dict[str, float]]:
        """The trained model, and the last loss of each stage by name."""
        settings, losses = self._settings, {}
        held = _held_out(self._learned, settings.held_out)
        earlier = None
        if held.any() and not held.all():
            earlier, _ = self._encoder(
                "Encoder without the latest", self._learned.take(np.flatnonzero(~held))
            )
            losses["list_loss"] = self._mixture(earlier, held)
        model, losses["encoder_loss"] = self._encoder("Encoder", self._learned)
        if earlier is not None:
            model.ranker.take_order(earlier.ranker)
        bar = _Bar(self._show, "Actions and values", settings.ranker_epochs)
        losses["pair_loss"] = fit_ranker(model, self._learned, self._table, settings, bar.advance)
        return model, losses

    def _encoder(self, title: str, learned: Events) -> tuple[Recommender, float]:
        settings = self._settings
        torch.manual_seed(settings.seed)
        model = Recommender(self._shape, settings.dropout, settings.id_dropout, settings.media_dropout)
        if self._encoders.text.causal:
            model.item.standardise(self._table.text)
        bar = _Bar(self._show, title, settings.epochs)
        # An item that only later events name has no embedding yet.
        seen = np.zeros(len(learned.item_ids), np.bool_)
        seen[learned.items] = True
        table = ItemTable(self._table.text, self._table.index * torch.from_numpy(seen), self._table.media)
        return model, fit_encoder(model, learned, table, settings, bar.advance)

    def _mixture(self, model: Recommender, held: NDArray[np.bool_]) -> float:
        settings, learned = self._settings, self._learned
        bar = _Bar(self._show, "Order of lists", settings.mixture_steps)
        popularity = tuple(PopularityHistory(learned, days) for days in settings.popularity_half_lives_days)
        surroundings = Surroundings(popularity, _ages(learned, self._items))
        seen = np.zeros(len(learned.item_ids), np.bool_)
        seen[learned.items[~held]] = True
        table = ItemTable(self._table.text, self._table.index * torch.from_numpy(seen), self._table.media)
        return fit_mixture(model, learned, held, table, surroundings, settings, bar.advance)


class _Bar:
    """A progress bar in epochs or steps, with the loss beside it."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress, self._title = progress, title
        self._task = progress.add_task(title, total=total)

    def advance(self, share: float, loss: float) -> None:
        self._progress.update(self._task, advance=share, description=f"{self._title}, loss {loss:.3f}")


def _held_out(learned: Events, share: float) -> NDArray[np.bool_]:
    """The latest events [rows]; where times are not real, the last one of every user who has three."""
    held = np.zeros(len(learned), np.bool_)
    if learned.timed:
        held[int(len(learned) * (1 - share)) :] = share > 0
    elif share:
        held[[rows[-1] for rows in learned.by_user() if len(rows) >= 3]] = True
    return held


def _shape(encoders: Encoders, learned: Events, trained: int, settings: TrainSettings) -> Shape:
    """The model's widths, and the scale of each action's values as the events have them."""
    means, scales = [], []
    for action in range(len(learned.action_names)):
        values = learned.values[learned.actions == action]
        values = values[np.isfinite(values)]
        means.append(float(values.mean()) if len(values) else 0.0)
        scales.append(max(float(values.std()), 1e-3) if len(values) else 1.0)
    every = learned.values[np.isfinite(learned.values)]
    value_range = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    return Shape(
        encoders.text.width,
        settings.width,
        settings.channels,
        settings.hidden,
        trained,
        len(learned.action_names),
        tuple(means),
        tuple(scales),
        value_range,
        len(settings.popularity_half_lives_days),
        tuple(encoders.media_widths.items()),
        settings.temperature,
    )


def _ages(learned: Events, items: Sequence[ItemText]) -> Callable[[Ints], Floats]:
    published_by_id = {item.item_id: item.published_ms for item in items}
    published = np.array([published_by_id.get(i) or 0 for i in learned.item_ids], np.int64)

    def ages(time_ms: Ints) -> Floats:
        seconds = np.maximum(time_ms[:, None] - published, 0) / 1000
        return np.where(published > 0, seconds, -1.0).astype(np.float32)

    return ages
