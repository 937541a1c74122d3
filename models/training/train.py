"""Trains a model on events and items, and writes its bundle."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from inference.bundle.bundle import Manifest
from models.data.events import Events, InteractionTable, ItemText, index_events, texts_fingerprint
from models.data.training_data import Chunks, HeldOutSplit, InMemoryData, TrainingData
from models.encoders.labels import LabelEncoder
from models.encoders.load import Encoders, ItemInputs, load_encoders
from models.errors import NothingToLearn
from models.export.bundle_writer import write_bundle
from models.network.recommender import Recommender, Shape
from models.network.sequence_model import ItemTable
from models.network.teacher import Teacher
from models.training.bundle_metadata import bundle_metadata
from models.training.distillation import DistillationTarget, TeacherRecord, save_teacher, teacher_file
from models.training.distributed import process_group
from models.training.distributed.devices import device_of
from models.training.distributed.torchrun import torchrun_rank
from models.training.identity import training_identity
from models.training.progress import StageProgress
from models.training.resume import rng_state
from models.training.resume.checkpoint import Checkpoint
from models.training.settings import TrainSettings
from models.training.stages.fit_action_value import fit_action_value
from models.training.stages.fit_encoder import fit_encoder
from models.training.stages.fit_mixture import ContextFeatures, fit_mixture, item_ages
from models.training.stages.fit_teacher import TeacherTraining
from models.training.training_weights import TrainingRecord, TrainingWeights, save_weights, weights_folder
from profiles.actions import Actions

Validator = Callable[[Recommender, ItemTable], Mapping[str, float]]
"""Measures a model during its training. It takes the model in evaluation mode and the item tower's inputs, and returns
figures by name. It may compose lists with them. The weights do not depend on it."""


def train(
    interactions: InteractionTable,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
) -> Manifest:
    """Trains a model on a table of events; see `train_on`.

    Items without events in `interactions` get no id embedding: the model only knows their text.
    """
    return train_on(
        index_events([interactions], items, Actions(settings.actions)), items, settings, bundle, progress
    )


def train_on(
    data: Events | TrainingData,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
    fingerprint: str | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    continuable: bool = False,
    validate: Validator | None = None,
) -> Manifest:
    """Trains a model and writes its bundle. Equal data, settings and machine give an equal model.

    Args:
        data: the training events.
        items: texts, media and dates of items.
        settings: settings of the training.
        bundle: folder to write; what was there is replaced at the end.
        progress: shows the stages.
        fingerprint: fingerprint of the events before their preparation, by which evaluations recognise their training
            part; None: that of `data`.
        checkpoint: where the training resumes; it is removed when the bundle is written.
        continuable: whether to save weights for `models.training.continuation` beside the bundle.
        validate: called by rank 0 after each epoch of the encoder. Its figures are printed.

    Returns:
        The bundle's manifest.

    Raises:
        NothingToLearn: there are no events.
        EncoderNotFound: an encoder is missing.
        ExportFailed: a graph does not compute what torch computes.
        TrainingStopped: a stop was requested.
        CheckpointRefused: the checkpoint is of another training.
        CheckpointWriteFailed: the checkpoint cannot be written.
    """
    if isinstance(data, Events):
        data = InMemoryData(data)
    if not len(data):
        raise NothingToLearn("the preparation left no event to train on: lower its minimum counts")
    progress = progress or Progress(disable=True)
    checkpoint = checkpoint or Checkpoint()
    device = _set_up_process(settings)
    encoders = load_encoders(settings.encoders, items)
    if resumed := checkpoint.open(training_identity(data, items, encoders, settings)):
        progress.console.print(f"Resuming {checkpoint.path}: {resumed}", markup=False, highlight=False)
    inputs = _encode_items(encoders, data, items, settings, progress, device)
    training = _Training(data, items, encoders, inputs, settings, progress, checkpoint, validate)
    model, losses = training.run()
    if process_group.rank():
        return Manifest.model_validate_json(process_group.broadcast_text(None))

    export = progress.add_task("Export and check", total=4 + len(encoders.media))

    def on_graph(name: str) -> None:
        progress.advance(export)
        checkpoint.stop_if_requested()

    item_ids = [data.item_ids[item] for item in np.flatnonzero(training.seen_items)]
    # A trained item without labels keeps those of its training, so its text does not matter.
    by_label = isinstance(encoders.text, LabelEncoder)
    metadata = bundle_metadata(
        settings,
        version=settings.version,
        metrics={**losses, "events": float(len(data)), "seconds": checkpoint.seconds},
        data_fingerprint=fingerprint or data.fingerprint(),
        texts_fingerprint="" if by_label else texts_fingerprint(item_ids, items),
    )
    manifest = write_bundle(bundle, model.cpu(), encoders, item_ids, metadata, on_graph)
    teacher_file(bundle).unlink(missing_ok=True)
    if training.teacher is not None:
        teacher_record = TeacherRecord(
            settings=settings,
            shape=model.shape,
            item_ids=tuple(item_ids),
            text_encoder=encoders.text.fingerprint(),
            data_fingerprint=manifest.data_fingerprint,
        )
        save_teacher(teacher_file(bundle), training.teacher.cpu(), teacher_record)
    if continuable:
        record = TrainingRecord(
            version=manifest.version,
            settings=settings,
            shape=model.shape,
            item_ids=tuple(item_ids),
            text_encoder=encoders.text.fingerprint(),
            newest_ms=data.newest_ms(),
            data_fingerprint=manifest.data_fingerprint,
        )
        save_weights(weights_folder(bundle), TrainingWeights(record, model.state_dict()))
    checkpoint.remove()
    process_group.broadcast_text(manifest.model_dump_json())
    return manifest


def shape_of(encoders: Encoders, data: TrainingData, items: int, settings: TrainSettings) -> Shape:
    """The shape of a model. `items` is the number of items with events."""
    scales = data.scales()
    return Shape(
        text_width=encoders.text.width,
        width=settings.width,
        channels=settings.channels,
        hidden=settings.hidden,
        items=items,
        actions=len(data.action_names),
        value_mean=scales.means,
        value_scale=scales.deviations,
        value_range=scales.range,
        popularities=len(settings.popularity_half_lives_days),
        media=tuple(encoders.media_widths.items()),
        temperature=settings.temperature,
        item_skip_connection=settings.item_skip_connection,
        timed=data.timed,
    )


def _set_up_process(settings: TrainSettings) -> torch.device:
    """Seeds the generators, sets threads, and returns this process's device."""
    rank = torchrun_rank()
    device = device_of(settings.device, rank.local_rank)
    if device.type == "cuda":
        # The default of operations that name no device, NCCL's among them.
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, settings.threads // rank.local_world_size))
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    torch.manual_seed(settings.seed)
    return device


def _encode_items(
    encoders: Encoders,
    data: TrainingData,
    items: Sequence[ItemText],
    settings: TrainSettings,
    progress: Progress,
    device: torch.device,
) -> ItemInputs:
    """Inputs of the item tower for all items, on the device. Each process encodes its span of the items. Labels cost
    nothing, so each process encodes all of them."""
    by_label = isinstance(encoders.text, LabelEncoder)
    count = len(data.item_ids)
    first, end = (0, count) if by_label else process_group.rank_span(count)
    own = encoders.vectors(data.item_ids[first:end], items, settings.cache, progress, device)

    def gathered(rows: torch.Tensor) -> torch.Tensor:
        if by_label:
            return rows.to(device)
        return process_group.all_gather_rows(rows, first, count).to(device)

    return ItemInputs(gathered(own.text), {name: gathered(rows) for name, rows in own.media.items()})


class _Training:
    """Runs the stages, one after another."""

    def __init__(
        self,
        data: TrainingData,
        items: Sequence[ItemText],
        encoders: Encoders,
        inputs: ItemInputs,
        settings: TrainSettings,
        progress: Progress,
        checkpoint: Checkpoint,
        validate: Validator | None,
    ) -> None:
        self._data, self._items, self._encoders, self._settings = data, items, encoders, settings
        self._progress, self._checkpoint, self._validate = progress, checkpoint, validate
        self.teacher: Teacher | None = None
        self.seen_items = data.seen_items()
        index = np.where(self.seen_items, np.cumsum(self.seen_items), 0)
        self._table = ItemTable(inputs.text, torch.from_numpy(index).to(inputs.text.device), inputs.media)
        self._shape = shape_of(encoders, data, int(self.seen_items.sum()), settings)

    def run(self) -> tuple[Recommender, dict[str, float]]:
        """The trained model, and the last loss of each stage by name."""
        settings, losses = self._settings, {}
        # The teacher comes first, so that a student starts with the same weights with and without one.
        teacher = self._teacher_training()
        model = self._untrained()
        self._checkpoint.track("model", model)
        split = self._data.split_latest(settings.held_out)
        if split is not None:
            # An item that only held-out events name has no embedding yet.
            table = self._table.restricted_to(split.seen_items)
            target = teacher.fit("Teacher without the held-out events", split.earlier, table)
            title = "Encoder without the held-out events"
            self._fit_encoder(model, title, split.earlier, table, settings, target)
            losses["list_loss"] = self._fit_mixture(model, split, table)
            settings = settings.model_copy(
                update={"epochs": settings.final_epochs, "learning_rate": settings.final_learning_rate}
            )
        target = teacher.fit("Teacher", self._data, self._table, final=split is not None)
        losses["encoder_loss"] = self._fit_encoder(
            model, "Encoder", self._data, self._table, settings, target
        )
        losses["pair_loss"] = self._fit_action_value(model)
        self.teacher = teacher.teacher
        return model, losses

    def _teacher_training(self) -> TeacherTraining:
        text, standardize = self._table.text, self._encoders.text.causal
        return TeacherTraining(
            self._shape, self._settings, text, self._checkpoint, self._progress, standardize=standardize
        )

    def _untrained(self) -> Recommender:
        settings = self._settings
        torch.manual_seed(settings.seed)
        model = Recommender(self._shape, settings.dropout, settings.id_dropout, settings.media_dropout)
        model.to(self._table.text.device)
        if self._encoders.text.causal:
            model.item.standardize(self._table.text)
        process_group.broadcast_module(model)
        process_group.seed_rank(settings.seed)
        return model

    def _fit_encoder(
        self,
        model: Recommender,
        title: str,
        data: Chunks,
        table: ItemTable,
        settings: TrainSettings,
        target: DistillationTarget | None,
    ) -> float:
        def run() -> float:
            stage = StageProgress(self._progress, title, settings.epochs)
            loss = fit_encoder(
                model,
                data,
                table,
                settings,
                stage.advance,
                checkpoint=self._checkpoint,
                distillation=target,
                after_epoch=lambda epoch: self._validated(model, table, f"{title}, epoch {epoch}"),
            )
            model.item.init_cold_embeddings(table.text, table.index)
            return loss

        return self._checkpoint.stage(title, run)

    def _fit_mixture(self, model: Recommender, split: HeldOutSplit, table: ItemTable) -> float:
        settings = self._settings
        title = "Ranking mixture"

        def run() -> float:
            stage = StageProgress(self._progress, title, settings.mixture_steps)
            features = ContextFeatures(
                tuple(split.popularity(days) for days in settings.popularity_half_lives_days),
                item_ages(self._data.item_ids, self._items),
            )
            return fit_mixture(
                model,
                split.events,
                split.held_out,
                table,
                features,
                settings,
                stage.advance,
                checkpoint=self._checkpoint,
            )

        return self._checkpoint.stage(title, run)

    def _fit_action_value(self, model: Recommender) -> float:
        title = "Actions and values"

        def run() -> float:
            stage = StageProgress(self._progress, title, self._settings.ranker_epochs)
            return fit_action_value(
                model,
                self._data.sample(),
                self._table,
                self._settings,
                stage.advance,
                checkpoint=self._checkpoint,
            )

        return self._checkpoint.stage(title, run)

    def _validated(self, model: Recommender, table: ItemTable, title: str) -> None:
        if self._validate is None or process_group.rank():
            return
        # Validating draws nothing from the training's generators.
        states = rng_state.process_states()
        model.eval()
        figures = self._validate(model, table)
        rng_state.restore_process(states)
        text = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
        self._progress.console.print(f"{title}: {text}", markup=False, highlight=False)
