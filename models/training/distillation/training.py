"""The teacher's own training, a stage for each member before each stage of its student's encoder."""

from functools import partial

import torch
from rich.progress import Progress
from torch import Tensor

from models.data.training_data import Parts
from models.network.recommender import Shape
from models.training.distillation.target import Lesson
from models.training.distillation.teacher import Member, Teacher
from models.training.distributed import process_group as workers
from models.training.progress import Bar
from models.training.resume.checkpoint import Checkpoint
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import fit_encoder
from models.training.stages.sequence_model import ItemTable

# Between the seeds of a student and of its teacher's members.
_APART = 1_000_003


class Teaching:
    """A teacher, where the settings have one, and its stages. Like the student it learns without the latest events
    first, since the order of lists is learned from what nobody has seen, and then goes on with everything."""

    def __init__(
        self,
        shape: Shape,
        settings: TrainSettings,
        text: Tensor,
        keep: Checkpoint,
        show: Progress,
        *,
        standardise: bool = False,
    ) -> None:
        """text [n, text width]: of all items, on the device. standardise: see `ItemHead`."""
        self._settings, self._keep, self._show = settings, keep, show
        self.teacher: Teacher | None = None
        if not settings.teacher.members:
            return
        torch.manual_seed(settings.seed + _APART)
        self.teacher = Teacher(shape, settings.teacher, settings.media_dropout).to(text.device)
        if standardise:
            for member in self.teacher.each():
                member.item.standardise(text)
        workers.agree(self.teacher)
        workers.part_chances(settings.seed + _APART)
        keep.follow("teacher", self.teacher)

    def lesson(self, title: str, learned: Parts, table: ItemTable, *, goes_on: bool = False) -> Lesson | None:
        """The teacher after its training on these events, frozen; None without a teacher. goes_on: from its training
        before. Raises TrainingStopped."""
        if self.teacher is None:
            return None
        own, settings = self._settings.teacher, self._settings
        settings = settings.model_copy(
            update={
                "epochs": own.final_epochs if goes_on else own.epochs,
                "learning_rate": own.final_learning_rate if goes_on else own.learning_rate,
                "weight_decay": own.weight_decay,
                "batch": own.batch,
                "taste_weight": own.taste_weight,
                "advantage": 0.0,
            }
        )
        for place, member in enumerate(self.teacher.each(), start=1):
            name = f"{title} {place} of {own.members}" if own.members > 1 else title
            seeded = settings.model_copy(update={"seed": settings.seed + _APART * place})
            self._keep.stage(name, partial(self._learn, member, name, learned, table, seeded))
        return Lesson(self.teacher, table)

    def _learn(
        self, member: Member, name: str, learned: Parts, table: ItemTable, settings: TrainSettings
    ) -> float:
        bar = Bar(self._show, name, settings.epochs)
        loss = fit_encoder(member, learned, table, settings, bar.advance, keep=self._keep)
        member.item.foretell_unseen(table.text, table.index)
        return loss
