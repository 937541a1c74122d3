"""Trains the teacher of distillation: each member in a stage of its own, before the student's encoder."""

from functools import partial

import torch
from rich.progress import Progress
from torch import Tensor

from models.data.training_data import Chunks
from models.network.recommender import Shape
from models.network.sequence_model import ItemTable
from models.network.teacher import Member, Teacher
from models.training.distillation import DistillationTarget, untrained_teacher
from models.training.distributed import process_group
from models.training.progress import StageProgress
from models.training.resume.checkpoint import Checkpoint
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import fit_encoder

# Between the seeds of the student and of each member.
_SEED_STEP = 1_000_003


class TeacherTraining:
    """The teacher and its stages, if the settings have a teacher.

    Like its student, it first trains without the held-out events, because the ranking mixture is fitted to events that
    neither of them has seen. Then it continues with all events.

    Attributes:
        teacher: None without `train.teacher.members`.
    """

    def __init__(
        self,
        shape: Shape,
        settings: TrainSettings,
        text: Tensor,
        checkpoint: Checkpoint,
        progress: Progress,
        *,
        standardize: bool = False,
    ) -> None:
        """
        Args:
            shape: shape of the student.
            settings: settings of the training.
            text: text vectors [n, text width] of all items, on the device.
            checkpoint: tracks the teacher and runs its stages.
            progress: shows the stages.
            standardize: whether to standardise text vectors; see `ItemTower`.
        """
        self._settings, self._checkpoint, self._progress = settings, checkpoint, progress
        self.teacher: Teacher | None = None
        if not settings.teacher.members:
            return
        torch.manual_seed(settings.seed + _SEED_STEP)
        self.teacher = untrained_teacher(shape, settings.teacher, settings.media_dropout).to(text.device)
        if standardize:
            for member in self.teacher.each():
                member.item.standardize(text)
        process_group.broadcast_module(self.teacher)
        process_group.seed_rank(settings.seed + _SEED_STEP)
        checkpoint.track("teacher", self.teacher)

    def fit(
        self, title: str, data: Chunks, items: ItemTable, *, final: bool = False
    ) -> DistillationTarget | None:
        """Trains the teacher on these events.

        Args:
            title: title of the stage.
            data: the events.
            items: inputs of the item tower.
            final: whether this is the second training, with the final epochs and learning rate.

        Returns:
            The frozen teacher's targets; None without a teacher.

        Raises:
            TrainingStopped: a stop was requested.
        """
        if self.teacher is None:
            return None
        own, settings = self._settings.teacher, self._settings
        settings = settings.model_copy(
            update={
                "epochs": own.final_epochs if final else own.epochs,
                "learning_rate": own.final_learning_rate if final else own.learning_rate,
                "weight_decay": own.weight_decay,
                "batch": own.batch,
                "long_term_weight": own.long_term_weight,
                "advantage": 0.0,
            }
        )
        for number, member in enumerate(self.teacher.each(), start=1):
            name = f"{title} {number} of {own.members}" if own.members > 1 else title
            seeded = settings.model_copy(update={"seed": settings.seed + _SEED_STEP * number})
            self._checkpoint.stage(name, partial(self._fit_member, member, name, data, items, seeded))
        return DistillationTarget(self.teacher, own, items)

    def _fit_member(
        self, member: Member, name: str, data: Chunks, items: ItemTable, settings: TrainSettings
    ) -> float:
        stage = StageProgress(self._progress, name, settings.epochs)
        loss = fit_encoder(member, data, items, settings, stage.advance, checkpoint=self._checkpoint)
        member.item.init_cold_embeddings(items.text, items.index)
        return loss
