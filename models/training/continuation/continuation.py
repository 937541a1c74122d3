"""Fresh weights: a model goes on from the last training with the events that came since, in seconds.

The encoder goes through the new events a few times at a low rate, older ones among them, and the network of actions and
values after it. The order of lists and its calibration stay: they were learned from events that the encoder had not
seen. Widths stay, so states keep their form; their numbers do not, and a version's profiles are folded anew as always.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from inference.bundle.bundle import Manifest, read
from models.data.events import Events, ItemText
from models.data.training_data import named
from models.encoders.load import Encoders, ItemInputs, load
from models.errors import NothingToLearn, WeightsMissing
from models.export.bundle_writer import write_bundle
from models.network.recommender import Recommender
from models.training.continuation.fresh_events import FreshWindows, chosen_events
from models.training.distributed.devices import device_of
from models.training.progress import Bar
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import ItemTable, fit_encoder
from models.training.stages.fit_ranker import fit_ranker
from models.training.training_weights import (
    Record,
    TrainingWeights,
    load_weights,
    save_weights,
    weights_folder,
)

_KEPT = (
    "width", "channels", "hidden", "temperature", "direct", "history", "refold_every", "popularity_half_lives_days",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Continued:
    """The model, on the CPU, and what it leaves for the next time. losses: of each stage, by name. new: events that
    were learned for the first time."""

    model: Recommender
    weights: TrainingWeights
    losses: Mapping[str, float]
    new: int


def continue_on(
    events: Events,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
    fingerprint: str | None = None,
) -> Manifest:
    """Learns those of the events that are later than the bundle's last one, and puts a new version in its place. Their
    users' earlier events are the context, and need not all be there. fingerprint: see `models.training.train.train_on`.

    Raises WeightsMissing, NothingToLearn, ExportFailed, EncoderNotFound, BundleRefused.
    """
    started = time.monotonic()
    show = progress or Progress(disable=True)
    weights = load_weights(weights_folder(bundle))
    before = read(bundle)
    if (version := before.manifest.version) != weights.record.version:
        raise WeightsMissing(
            f"{weights_folder(bundle)} is of version {weights.record.version}, and {bundle} of version {version}: they "
            "are not of one training"
        )
    device = device_of(settings.device, 0)
    torch.set_num_threads(settings.threads)
    encoders = load(settings.encoders, items, before.tokenizer())
    check_kept(weights.record, settings, encoders)
    inputs = encoders.vectors(events.item_ids, items, settings.cache, show, device)
    made = continued(weights, events, inputs, settings, show, device)
    record = made.weights.record
    export = show.add_task("Export and check", total=4 + len(encoders.media))
    manifest = write_bundle(
        bundle,
        made.model,
        encoders,
        record.item_ids,
        settings.model_copy(update={"version": record.version}),
        metrics={**made.losses, "events": float(made.new), "seconds": time.monotonic() - started},
        fingerprint=fingerprint or record.data_fingerprint,
        exported=lambda name: show.advance(export),
    )
    save_weights(weights_folder(bundle), made.weights)
    return manifest


def check_kept(record: Record, settings: TrainSettings, encoders: Encoders) -> None:
    """Raises WeightsMissing where the settings are of another model."""
    before, now = record.settings, settings
    differing = [
        f"train.{name} ({getattr(before, name)} then, {getattr(now, name)} now)"
        for name in _KEPT
        if getattr(before, name) != getattr(now, name)
    ]
    if list(before.actions) != list(now.actions):
        differing.append("the actions' names")
    if record.text_encoder != encoders.text.fingerprint():
        differing.append("the text encoder")
    if dict(record.shape.media) != encoders.media_widths:
        differing.append("encoders of images")
    if differing:
        raise WeightsMissing(
            f"the model that is gone on with was trained with others: {', '.join(differing)}"
        )


def continued(
    weights: TrainingWeights,
    events: Events,
    inputs: ItemInputs,
    settings: TrainSettings,
    show: Progress,
    device: torch.device,
) -> Continued:
    """The same in memory. inputs: of the events' items. Raises NothingToLearn."""
    record = weights.record
    newest_ms = _newest(record, events)
    new = int((events.time_ms > newest_ms).sum())
    if not new:
        raise NothingToLearn(
            f"no event is later than {_moment(newest_ms)}, up to where the bundle has learned"
        )
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(settings.seed)
    fresh = settings.fresh
    chosen = chosen_events(events, newest_ms, fresh, settings.seed)
    index = weights.indices(events.item_ids)
    # Items that are taken for the first time get embeddings behind the others, in their order here.
    first = np.flatnonzero(named(chosen) & (index == 0))
    added = [events.item_ids[place] for place in first]
    index[first] = len(record.item_ids) + 1 + np.arange(len(first))
    model = weights.model(settings, added).to(device)
    table = ItemTable(
        inputs.text.to(device),
        torch.from_numpy(index).to(device),
        {name: part.to(device) for name, part in inputs.media.items()},
    )
    if len(first):
        rows = torch.from_numpy(first).to(device)
        model.item.begin(table.index[rows], table.text.index_select(0, rows))
    gently = settings.model_copy(update={"epochs": fresh.epochs, "learning_rate": fresh.learning_rate})
    windows = FreshWindows(newest_ms, fresh.rehearsal, settings.history, settings.refold_every)
    bar = Bar(show, "Encoder", fresh.epochs)
    losses = {"encoder_loss": fit_encoder(model, chosen, table, gently, bar.advance, windows=windows)}
    bar = Bar(show, "Actions and values", gently.ranker_epochs)
    losses["pair_loss"] = fit_ranker(model, chosen, table, gently, bar.advance)
    model.cpu()
    after = record.model_copy(
        update={
            "version": max(settings.version or int(time.time()), record.version + 1),
            "settings": settings,
            "shape": model.shape,
            "item_ids": (*record.item_ids, *added),
            "newest_ms": int(events.time_ms[-1]),
            "data_fingerprint": events.fingerprint(),
        }
    )
    return Continued(model, TrainingWeights(after, model.state_dict()), losses, new)


def _newest(record: Record, events: Events) -> int:
    if record.newest_ms is None or not events.timed:
        raise NothingToLearn("without times no event is newer than another: train anew with all of them")
    return record.newest_ms


def _moment(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms"))
