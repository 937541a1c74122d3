"""The teacher in a file beside the bundle: what serves needs nothing of it, what measures does."""

import os
import pickle
import uuid
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import WeightsMissing
from models.network.recommender import Shape
from models.training.distillation.teacher import Teacher
from models.training.settings import TrainSettings

_RECORD: Final = "record"
_NUMBERS: Final = "numbers"


class TeacherRecord(BaseModel):
    """What its numbers are of. item_ids: of the id embeddings, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    settings: TrainSettings
    shape: Shape
    item_ids: tuple[str, ...]
    text_encoder: str
    data_fingerprint: str


def teacher_file(bundle: Path) -> Path:
    """Where the teacher of the bundle is kept."""
    return bundle.with_name(f"{bundle.name}.teacher")


def save_teacher(file: Path, teacher: Teacher, record: TeacherRecord) -> None:
    """Whole or not at all; what was there before is replaced."""
    partial = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as opened:
            torch.save({_RECORD: record.model_dump_json(), _NUMBERS: teacher.state_dict()}, opened)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def load_teacher(file: Path) -> tuple[Teacher, TeacherRecord]:
    """Ready to be asked. Raises WeightsMissing where the file is not there, not whole or of another form."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        record = TeacherRecord.model_validate_json(content[_RECORD])
        teacher = Teacher(record.shape, record.settings.teacher)
        teacher.load_state_dict(content[_NUMBERS])
    except FileNotFoundError as error:
        raise WeightsMissing(
            f"{file} is missing: `recstream train` with train.teacher.members writes it beside the bundle"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WeightsMissing(f"{file}: {place}: {first['msg']}") from error
    except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
        raise WeightsMissing(f"{file} holds no teacher, or was not copied whole: {error}") from error
    return teacher.eval(), record
