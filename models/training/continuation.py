"""Continued training: the model learns the events that came since its last training, in seconds.

The encoder trains for a few epochs on the new events at a low learning rate, and then the action and value head. The
ranking mixture and its calibration stay, because they were fitted to events that the encoder had not seen. Sizes stay,
so user states keep their width. Their values change, so publishing folds the profiles again, as for any version.

A model that only trains on new events forgets the old ones. So a sample of older windows is mixed in. This is
rehearsal, a simple and strong baseline (Robins 1995; Rolnick et al. 2019, arXiv:1811.11682).
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
from models.data.windows import Window, training_windows
from models.encoders.load import Encoders, ItemInputs, load_encoders
from models.errors import NothingToLearn, WeightsMissing
from models.export.bundle_writer import write_bundle
from models.network.recommender import Recommender
from models.network.sequence_model import ItemTable
from models.training.bundle_metadata import bundle_metadata
from models.training.distributed.devices import device_of
from models.training.progress import StageProgress
from models.training.settings import ContinuationSettings, TrainSettings
from models.training.stages.fit_action_value import fit_action_value
from models.training.stages.fit_encoder import fit_encoder
from models.training.training_weights import (
    TrainingRecord,
    TrainingWeights,
    load_weights,
    save_weights,
    weights_folder,
)

# The weights depend on these settings, so they cannot change.
_FIXED = (
    "width",
    "channels",
    "hidden",
    "temperature",
    "item_skip_connection",
    "history",
    "refold_every",
    "popularity_half_lives_days",
    "text_attributes",
)


@dataclass(frozen=True, slots=True)
class ContinuedTraining:
    """The result of a continued training.

    Attributes:
        model: the trained model, on the CPU.
        weights: the weights for the next continuation.
        losses: the loss of each stage, by name.
        new_events: number of events that were trained on for the first time.
    """

    model: Recommender
    weights: TrainingWeights
    losses: Mapping[str, float]
    new_events: int


def continue_training(
    events: Events,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
    fingerprint: str | None = None,
) -> Manifest:
    """Trains the bundle's model on the events that are later than its last one, and replaces it by a new version.

    Args:
        events: the new events, and some earlier ones of their users as context.
        items: texts, media and dates of items.
        settings: settings of the training; `continuation` has the epochs and rates.
        bundle: folder of the bundle.
        progress: shows the stages.
        fingerprint: fingerprint of the events before their preparation; None: that of `events`.

    Returns:
        The new version's manifest.

    Raises:
        WeightsMissing: the weights of the previous training are missing or of another model.
        NothingToLearn: no event is new.
        ExportFailed: a graph does not compute what torch computes.
        EncoderNotFound: an encoder is missing.
        BundleRefused: the bundle cannot be read.
    """
    started = time.monotonic()
    progress = progress or Progress(disable=True)
    weights = load_weights(weights_folder(bundle))
    previous = read(bundle)
    if (version := previous.manifest.version) != weights.record.version:
        raise WeightsMissing(
            f"{weights_folder(bundle)} is of version {weights.record.version}, but {bundle} is of version {version}: "
            "they are not of the same training"
        )
    device = device_of(settings.device, 0)
    torch.set_num_threads(settings.threads)
    encoders = load_encoders(settings.encoders, items, previous.tokenizer())
    check_same_model(weights.record, settings, encoders)
    inputs = encoders.vectors(events.item_ids, items, settings.cache, progress, device)
    result = continued_weights(weights, events, inputs, settings, progress, device)
    record = result.weights.record
    export = progress.add_task("Export and check", total=4 + len(encoders.media))
    metadata = bundle_metadata(
        settings,
        version=record.version,
        metrics={
            **result.losses,
            "events": float(result.new_events),
            "seconds": time.monotonic() - started,
        },
        data_fingerprint=fingerprint or record.data_fingerprint,
    )
    manifest = write_bundle(
        bundle, result.model, encoders, record.item_ids, metadata, lambda name: progress.advance(export)
    )
    save_weights(weights_folder(bundle), result.weights)
    return manifest


def check_same_model(record: TrainingRecord, settings: TrainSettings, encoders: Encoders) -> None:
    """Checks that the settings fit the saved model.

    Raises:
        WeightsMissing: a setting that the weights depend on has changed.
    """
    before, now = record.settings, settings
    differing = [
        f"train.{name} ({getattr(before, name)} then, {getattr(now, name)} now)"
        for name in _FIXED
        if getattr(before, name) != getattr(now, name)
    ]
    if list(before.actions) != list(now.actions):
        differing.append("the names of actions")
    if record.text_encoder != encoders.text.fingerprint():
        differing.append("the text encoder")
    if dict(record.shape.media) != encoders.media_widths:
        differing.append("the image encoder")
    if differing:
        raise WeightsMissing(f"the previous training had other settings: {', '.join(differing)}")


def continued_weights(
    weights: TrainingWeights,
    events: Events,
    inputs: ItemInputs,
    settings: TrainSettings,
    progress: Progress,
    device: torch.device,
) -> ContinuedTraining:
    """Continues a training in memory.

    Args:
        weights: the weights of the previous training.
        events: as for `continue_training`.
        inputs: inputs of the item tower for the events' items.
        settings: settings of the training.
        progress: shows the stages.
        device: the device to compute on.

    Raises:
        NothingToLearn: no event is new, or times are not real.
    """
    record = weights.record
    newest_ms = _newest(record, events)
    new_events = int((events.time_ms > newest_ms).sum())
    if not new_events:
        raise NothingToLearn(f"no event is later than {_utc(newest_ms)}, the last one that was learned")
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(settings.seed)
    own = settings.continuation
    chosen = select_events(events, newest_ms, own, settings.seed)
    index = weights.indices(events.item_ids)
    # Items that have their first events get embeddings after the others, in order.
    first_seen = np.flatnonzero(chosen.seen_items() & (index == 0))
    added = [events.item_ids[item] for item in first_seen]
    index[first_seen] = len(record.item_ids) + 1 + np.arange(len(first_seen))
    model = weights.model(settings, added).to(device)
    table = ItemTable(
        inputs.text.to(device),
        torch.from_numpy(index).to(device),
        {name: part.to(device) for name, part in inputs.media.items()},
    )
    if len(first_seen):
        rows = torch.from_numpy(first_seen).to(device)
        model.item.init_new_embeddings(table.index[rows], table.text.index_select(0, rows))
    short = settings.model_copy(update={"epochs": own.epochs, "learning_rate": own.learning_rate})
    windows = RehearsalWindows(newest_ms, own.rehearsal, settings.history, settings.refold_every)
    stage = StageProgress(progress, "Encoder", own.epochs)
    losses = {"encoder_loss": fit_encoder(model, chosen, table, short, stage.advance, windows=windows)}
    stage = StageProgress(progress, "Actions and values", short.ranker_epochs)
    losses["pair_loss"] = fit_action_value(model, chosen, table, short, stage.advance)
    model.cpu()
    updated = record.model_copy(
        update={
            "version": max(settings.version or int(time.time()), record.version + 1),
            "settings": settings,
            "shape": model.shape,
            "item_ids": (*record.item_ids, *added),
            "newest_ms": int(events.time_ms[-1]),
            "data_fingerprint": events.fingerprint(),
        }
    )
    return ContinuedTraining(model, TrainingWeights(updated, model.state_dict()), losses, new_events)


def select_events(events: Events, newest_ms: int, settings: ContinuationSettings, seed: int) -> Events:
    """All events of users with new ones, and of a sample of other users.

    Args:
        events: in ascending time.
        newest_ms: events after this time are new, Unix milliseconds.
        settings: the sample has `rehearsal` times as many users as have new events, `max_users` at most.
        seed: seed of the sample.
    """
    chosen = np.zeros(len(events.user_ids), np.bool_)
    chosen[events.users[events.time_ms > newest_ms]] = True
    has_events = np.zeros(len(events.user_ids), np.bool_)
    has_events[events.users] = True
    others = np.flatnonzero(has_events & ~chosen)
    count = min(len(others), int(np.ceil(settings.rehearsal * chosen.sum())), settings.max_users)
    chosen[np.random.default_rng(seed).choice(others, count, replace=False)] = True
    return events.take(np.flatnonzero(chosen[events.users]))


class RehearsalWindows:
    """Makes an epoch's windows: all with new events as targets, and `rehearsal` times as many of older events."""

    def __init__(self, newest_ms: int, rehearsal: float, history: int, refold_every: int) -> None:
        self._newest_ms, self._rehearsal = newest_ms, rehearsal
        self._lengths = history, refold_every

    def __call__(self, events: Events, rng: np.random.Generator) -> list[Window]:
        """Windows of events in ascending time."""
        new: list[Window] = []
        older: list[Window] = []
        for rows in events.by_user():
            first_new = int(np.searchsorted(events.time_ms[rows], self._newest_ms, side="right"))
            new += training_windows(rows, *self._lengths, rng, first_new)
            older += training_windows(rows[:first_new], *self._lengths, rng)
        count = min(len(older), round(self._rehearsal * len(new)))
        return new + [older[window] for window in rng.choice(len(older), count, replace=False)]


def _newest(record: TrainingRecord, events: Events) -> int:
    if record.newest_ms is None or not events.timed:
        raise NothingToLearn(
            "events without times have no order between users, so none is new: train on all of them, without --continue"
        )
    return record.newest_ms


def _utc(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms"))
