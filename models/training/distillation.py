"""Distillation: a larger teacher shows the served model which items could have come next, not only which one did.

    loss = (1 - w) * -log p(target) + w * T^2 * KL(softmax(z / T) || softmax(s / T))

s are the served model's logits and z those of the frozen teacher, on the same windows and over the same items (Hinton
et al. 2015, arXiv:1503.02531, section 2; T^2 keeps the gradient's magnitude). `models.network.teacher` is the teacher's
network.

Off by default (`train.teacher.members`); docs/experiments.md has its figures.
"""

import pickle
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from torch.nn import functional

from models.atomic_write import atomic_write
from models.data.windows import Batch
from models.errors import WeightsMissing
from models.network.recommender import Shape
from models.network.sequence_model import ItemTable
from models.network.teacher import Teacher, TeacherShape
from models.training.settings import TeacherSettings, TrainSettings

_RECORD: Final = "record"
_WEIGHTS: Final = "weights"


class DistillationTarget:
    """The targets that a frozen teacher gives its student.

    Attributes:
        vectors: the teacher's item vectors [n, D].
    """

    def __init__(self, teacher: Teacher, settings: TeacherSettings, items: ItemTable) -> None:
        self._teacher, self._settings = teacher.eval(), settings
        with torch.no_grad():
            self.vectors = teacher.vectors(items)

    @torch.no_grad()
    def user_vectors(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The teacher's next-item and long-term vectors [targets, D]. Long-term vectors are None if the teacher was not
        trained for them."""
        next_item, long_term = self._teacher.user_vectors(self.vectors, batch)
        return next_item, long_term if self._settings.long_term_weight else None

    def mixed_loss(self, losses: Tensor, student: Tensor, teacher: Tensor, log_q: Tensor | None) -> Tensor:
        """The loss of the module's docstring [b].

        Args:
            losses: -log p(target) [b].
            student: logits [b, m].
            teacher: logits [b, m].
            log_q: what was subtracted from both logits to correct for sampling [m]; None: m are all items.
        """
        weight, temperature = self._settings.distillation_weight, self._settings.distillation_temperature
        # The correction for sampling applies to the tempered logits: the corrected logits must not be tempered.
        correction = 0.0 if log_q is None else log_q * (1 / temperature - 1)
        target, predicted = (
            functional.log_softmax(logits / temperature + correction, -1) for logits in (teacher, student)
        )
        divergence = functional.kl_div(predicted, target, reduction="none", log_target=True).sum(-1)
        return (1 - weight) * losses + weight * temperature**2 * divergence


def untrained_teacher(shape: Shape, settings: TeacherSettings, media_dropout: float = 0.0) -> Teacher:
    """A teacher of this size with random weights, for a student of this shape."""
    size = TeacherShape(
        members=settings.members,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        dropout=settings.dropout,
        id_dropout=settings.id_dropout,
        temperature=settings.temperature,
    )
    return Teacher(shape, size, media_dropout)


class TeacherRecord(BaseModel):
    """What a saved teacher was trained on.

    Attributes:
        settings: settings of the training.
        shape: shape of the student.
        item_ids: items of the id embedding, in order.
        text_encoder: fingerprint of the text encoder.
        data_fingerprint: fingerprint of the events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[3] = 3
    settings: TrainSettings
    shape: Shape
    item_ids: tuple[str, ...]
    text_encoder: str
    data_fingerprint: str


def teacher_file(bundle: Path) -> Path:
    """The teacher's file beside the bundle. Evaluations read it; serving does not."""
    return bundle.with_name(f"{bundle.name}.teacher")


def save_teacher(file: Path, teacher: Teacher, record: TeacherRecord) -> None:
    """Writes the file, completely or not at all. It replaces what was there."""
    with atomic_write(file) as opened:
        torch.save({_RECORD: record.model_dump_json(), _WEIGHTS: teacher.state_dict()}, opened)


def load_teacher(file: Path) -> tuple[Teacher, TeacherRecord]:
    """The teacher, in evaluation mode on the CPU.

    Raises:
        WeightsMissing: the file is missing, incomplete, or of another format.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        record = TeacherRecord.model_validate_json(content[_RECORD])
        teacher = untrained_teacher(record.shape, record.settings.teacher)
        teacher.load_state_dict(content[_WEIGHTS])
    except FileNotFoundError as error:
        raise WeightsMissing(
            f"{file} is missing: `recstream train` with train.teacher.members writes it beside the bundle"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WeightsMissing(f"{file}: {field}: {first['msg']}") from error
    except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
        raise WeightsMissing(f"{file} holds no teacher, or is incomplete: {error}") from error
    return teacher.eval(), record
