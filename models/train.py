"""From events and items to a bundle."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from tokenizers import Tokenizer

from inference.bundle import Manifest, checksum
from models.bundling import write_bundle
from models.data import Events, Floats, InteractionTable, Ints, ItemText, events
from models.fit_encoder import ItemTable, fit_encoder
from models.fit_ranker import fit_ranker
from models.recommender import Recommender, Shape
from models.settings import TrainSettings
from models.text import TextEncoder, default_text_model, text_vectors
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

    Raises NothingToLearn, ExportFailed, FileNotFoundError (no text model).
    """
    show = progress or Progress(disable=True)
    started = time.monotonic()
    torch.set_num_threads(settings.threads)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    torch.manual_seed(settings.seed)

    learned = events([interactions], items, Actions(settings.actions))
    folder = settings.text_model or default_text_model()
    text = TextEncoder(folder)
    vectors = _text_vectors(text, folder, learned, items, settings, show)

    trained = np.zeros(len(learned.item_ids), np.bool_)
    trained[learned.items] = True
    index = np.where(trained, np.cumsum(trained), 0)
    table = ItemTable(torch.from_numpy(vectors), torch.from_numpy(index))
    model = Recommender(
        _shape(text, learned, int(trained.sum()), settings), settings.dropout, settings.id_dropout
    )

    bar = _Bar(show, "User and item encoder", settings.epochs)
    encoder_loss = fit_encoder(model, learned, table, settings, bar.advance)
    bar = _Bar(show, "Ranker", settings.ranker_epochs)
    ranker_loss = fit_ranker(model, learned, table, _ages(learned, items), settings, bar.advance)

    export = show.add_task("Export and check", total=4)
    return write_bundle(
        bundle,
        model,
        text,
        folder / "tokenizer.json",
        [item_id for item_id, seen in zip(learned.item_ids, trained, strict=True) if seen],
        settings,
        metrics={
            "encoder_loss": encoder_loss,
            "ranker_loss": ranker_loss,
            "events": float(len(learned)),
            "seconds": time.monotonic() - started,
        },
        fingerprint=learned.fingerprint(),
        exported=lambda name: show.advance(export),
    )


class _Bar:
    """A progress bar in shares of epochs, with the loss beside it."""

    def __init__(self, progress: Progress, title: str, epochs: int) -> None:
        self._progress, self._title = progress, title
        self._task = progress.add_task(title, total=epochs)

    def advance(self, share: float, loss: float) -> None:
        self._progress.update(self._task, advance=share, description=f"{self._title}, loss {loss:.3f}")


def _text_vectors(
    text: TextEncoder,
    folder: Path,
    learned: Events,
    items: Sequence[ItemText],
    settings: TrainSettings,
    show: Progress,
) -> Floats:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(settings.text_tokens, text.limit))
    texts = {item.item_id: item.text for item in items}
    identity = f"{_weights(folder)}/{settings.text_tokens}"
    task = show.add_task("Item texts", total=len(learned.item_ids))
    return text_vectors(
        text,
        tokenizer,
        [texts.get(item_id, "") for item_id in learned.item_ids],
        identity=identity,
        cache=settings.cache,
        advance=lambda done: show.advance(task, done),
    )


def _weights(folder: Path) -> str:
    return "/".join(
        checksum(path) for path in [*sorted(folder.glob("*.safetensors")), folder / "tokenizer.json"]
    )


def _shape(text: TextEncoder, learned: Events, trained: int, settings: TrainSettings) -> Shape:
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
        text.width,
        settings.width,
        settings.channels,
        settings.hidden,
        trained,
        len(learned.action_names),
        tuple(means),
        tuple(scales),
        value_range,
    )


def _ages(learned: Events, items: Sequence[ItemText]) -> Callable[[Ints], Floats]:
    published_by_id = {item.item_id: item.published_ms for item in items}
    published = np.array([published_by_id.get(i) or 0 for i in learned.item_ids], np.int64)

    def ages(time_ms: Ints) -> Floats:
        seconds = np.maximum(time_ms[:, None] - published, 0) / 1000
        return np.where(published > 0, seconds, -1.0).astype(np.float32)

    return ages
