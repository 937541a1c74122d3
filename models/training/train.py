"""From events and items to a bundle."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from inference.bundle.bundle import Manifest
from models.data.events import Events, InteractionTable, ItemText, events, texts_fingerprint
from models.data.training_data import InMemory, Latest, Learned, Parts
from models.encoders.labels import LabelEncoder
from models.encoders.load import Encoders, ItemInputs, load
from models.errors import NothingToLearn
from models.export.bundle_writer import write_bundle
from models.network.recommender import Recommender, Shape
from models.training.distillation.target import Lesson
from models.training.distillation.teacher import Teacher
from models.training.distillation.training import Teaching
from models.training.distillation.weights import TeacherRecord, save_teacher, teacher_file
from models.training.distributed import process_group as workers
from models.training.distributed.devices import device_of
from models.training.distributed.launch import own_place
from models.training.identity import identity_of
from models.training.progress import Bar
from models.training.resume.checkpoint import Checkpoint
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import ItemTable, fit_encoder
from models.training.stages.fit_mixture import Surroundings, ages_of, fit_mixture
from models.training.stages.fit_ranker import fit_ranker
from models.training.training_weights import Record, TrainingWeights, save_weights, weights_folder
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
    learned: Events | Learned,
    items: Sequence[ItemText],
    settings: TrainSettings,
    bundle: Path,
    progress: Progress | None = None,
    fingerprint: str | None = None,
    *,
    keep: Checkpoint | None = None,
    to_be_continued: bool = False,
) -> Manifest:
    """As `train`, for events that are indexed already: rows of `learned` are what is learned from, whatever else its
    lists of ids name. fingerprint: of the events before preparation, which is how an evaluation knows its own part;
    None: that of `learned`. keep: where the training stands meanwhile; removed when the bundle is written.
    to_be_continued: whether to leave beside the bundle what `models.training.continuation.continuation` goes on from.

    Raises TrainingStopped, CheckpointRefused and CheckpointUnwritten besides.
    """
    if isinstance(learned, Events):
        learned = InMemory(learned)
    if not len(learned):
        raise NothingToLearn("preparation left no event to learn from: lower its minimum counts")
    show = progress or Progress(disable=True)
    keep = keep or Checkpoint()
    here = own_place()
    device = device_of(settings.device, here.local_rank)
    if device.type == "cuda":
        # What makes no choice, the processes' own traffic among it, takes this one.
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, settings.threads // here.local_count))
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    torch.manual_seed(settings.seed)
    encoders = load(settings.encoders, items)
    if place := keep.open(identity_of(learned, items, encoders, settings)):
        show.console.print(f"Going on from {keep.path}: {place}", markup=False, highlight=False)
    inputs = _inputs(encoders, learned, items, settings, show, device)
    training = _Training(learned, items, encoders, inputs.text, inputs.media, settings, show, keep)
    model, losses = training.run()
    if workers.rank():
        return Manifest.model_validate_json(workers.told(None))

    export = show.add_task("Export and check", total=4 + len(encoders.media))

    def exported(name: str) -> None:
        show.advance(export)
        keep.stop_if_asked_here()

    item_ids = [learned.item_ids[place] for place in np.flatnonzero(training.trained)]
    manifest = write_bundle(
        bundle,
        model.cpu(),
        encoders,
        item_ids,
        settings,
        metrics={
            **losses,
            "events": float(len(learned)),
            "seconds": keep.seconds,
        },
        fingerprint=fingerprint or learned.fingerprint(),
        # A trained item without labels is taken to have those of its training.
        texts_fingerprint=""
        if isinstance(encoders.text, LabelEncoder)
        else texts_fingerprint(item_ids, items),
        exported=exported,
    )
    teacher_file(bundle).unlink(missing_ok=True)
    if training.teacher is not None:
        of = TeacherRecord(
            settings=settings,
            shape=model.shape,
            item_ids=tuple(item_ids),
            text_encoder=encoders.text.fingerprint(),
            data_fingerprint=manifest.data_fingerprint,
        )
        save_teacher(teacher_file(bundle), training.teacher.cpu(), of)
    if to_be_continued:
        record = Record(
            version=manifest.version,
            settings=settings,
            shape=model.shape,
            item_ids=tuple(item_ids),
            text_encoder=encoders.text.fingerprint(),
            newest_ms=learned.newest_ms(),
            data_fingerprint=manifest.data_fingerprint,
        )
        save_weights(weights_folder(bundle), TrainingWeights(record, model.state_dict()))
    keep.remove()
    workers.told(manifest.model_dump_json())
    return manifest


def _inputs(
    encoders: Encoders,
    learned: Learned,
    items: Sequence[ItemText],
    settings: TrainSettings,
    show: Progress,
    device: torch.device,
) -> ItemInputs:
    """Of all items, on the device; each process encodes its part of them, but labels, which cost nothing."""
    labels = isinstance(encoders.text, LabelEncoder)
    first, end = (0, len(learned.item_ids)) if labels else workers.span(len(learned.item_ids))
    mine = encoders.vectors(learned.item_ids[first:end], items, settings.cache, show, device)

    def whole(part: torch.Tensor) -> torch.Tensor:
        if labels:
            return part.to(device)
        return workers.rows_of_all(part, first, len(learned.item_ids)).to(device)

    return ItemInputs(whole(mine.text), {name: whole(part) for name, part in mine.media.items()})


class _Training:
    """The stages, one after another."""

    def __init__(
        self,
        learned: Learned,
        items: Sequence[ItemText],
        encoders: Encoders,
        text: torch.Tensor,
        media: dict[str, torch.Tensor],
        settings: TrainSettings,
        show: Progress,
        keep: Checkpoint,
    ) -> None:
        self._keep = keep
        self._learned, self._items, self._settings, self._show = learned, items, settings, show
        self._encoders = encoders
        self.teacher: Teacher | None = None
        self.trained = learned.known()
        index = np.where(self.trained, np.cumsum(self.trained), 0)
        self._table = ItemTable(text, torch.from_numpy(index).to(text.device), media)
        self._shape = shape_of(encoders, learned, int(self.trained.sum()), settings)

    def run(self) -> tuple[Recommender, dict[str, float]]:
        """The trained model, and the last loss of each stage by name."""
        settings, losses = self._settings, {}
        # First: a student begins with the same numbers whether it has a teacher or not.
        teaching = self._teaching()
        model = self._untrained()
        self._keep.follow("model", model)
        latest = self._learned.latest(settings.held_out)
        if latest is not None:
            # An item that only later events name has no embedding yet.
            table = self._table.of(latest.known)
            lesson = teaching.lesson("Teacher without the latest", latest.earlier, table)
            self._encoder(model, "Encoder without the latest", latest.earlier, table, settings, lesson)
            losses["list_loss"] = self._mixture(model, latest, table)
            settings = settings.model_copy(
                update={"epochs": settings.final_epochs, "learning_rate": settings.final_learning_rate}
            )
        lesson = teaching.lesson("Teacher", self._learned, self._table, goes_on=latest is not None)
        losses["encoder_loss"] = self._encoder(model, "Encoder", self._learned, self._table, settings, lesson)
        losses["pair_loss"] = self._pairs(model)
        self.teacher = teaching.teacher
        return model, losses

    def _teaching(self) -> Teaching:
        text, standardise = self._table.text, self._encoders.text.causal
        return Teaching(self._shape, self._settings, text, self._keep, self._show, standardise=standardise)

    def _untrained(self) -> Recommender:
        settings = self._settings
        torch.manual_seed(settings.seed)
        model = Recommender(self._shape, settings.dropout, settings.id_dropout, settings.media_dropout)
        model.to(self._table.text.device)
        if self._encoders.text.causal:
            model.item.standardise(self._table.text)
        workers.agree(model)
        workers.part_chances(settings.seed)
        return model

    def _encoder(
        self,
        model: Recommender,
        title: str,
        learned: Parts,
        table: ItemTable,
        settings: TrainSettings,
        lesson: Lesson | None,
    ) -> float:
        def run() -> float:
            bar = Bar(self._show, title, settings.epochs)
            loss = fit_encoder(model, learned, table, settings, bar.advance, keep=self._keep, lesson=lesson)
            model.item.foretell_unseen(table.text, table.index)
            return loss

        return self._keep.stage(title, run)

    def _mixture(self, model: Recommender, latest: Latest, table: ItemTable) -> float:
        settings = self._settings
        title = "Order of lists"

        def run() -> float:
            bar = Bar(self._show, title, settings.mixture_steps)
            popularity = tuple(latest.popularity(days) for days in settings.popularity_half_lives_days)
            surroundings = Surroundings(popularity, ages_of(self._learned.item_ids, self._items))
            return fit_mixture(
                model, latest.events, latest.held, table, surroundings, settings, bar.advance, keep=self._keep
            )

        return self._keep.stage(title, run)

    def _pairs(self, model: Recommender) -> float:
        title = "Actions and values"

        def run() -> float:
            bar = Bar(self._show, title, self._settings.ranker_epochs)
            events = self._learned.sample()
            return fit_ranker(model, events, self._table, self._settings, bar.advance, keep=self._keep)

        return self._keep.stage(title, run)


def shape_of(encoders: Encoders, learned: Learned, trained: int, settings: TrainSettings) -> Shape:
    """The model's widths, and the scale of each action's values as the events have them."""
    scales = learned.scales()
    return Shape(
        encoders.text.width,
        settings.width,
        settings.channels,
        settings.hidden,
        trained,
        len(learned.action_names),
        scales.means,
        scales.deviations,
        scales.range,
        len(settings.popularity_half_lives_days),
        tuple(encoders.media_widths.items()),
        settings.temperature,
        settings.direct,
        not isinstance(learned, InMemory) or learned.events.timed,
    )
