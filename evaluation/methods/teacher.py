"""The method of a teacher, and how its student compares with it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from evaluation.baselines.popularity import Popularity
from evaluation.errors import TrainedOnOther
from evaluation.method import EvalQueries
from evaluation.methods.product import ALONE
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import AT, Measured
from evaluation.protocols.split import Split
from evaluation.protocols.visible import visible_events
from evaluation.report.results import MeasuredMethod
from models.data.events import Floats
from models.data.windows import Window, collate, covered_by_state, event_gaps
from models.encoders.load import ItemInputs
from models.errors import WeightsMissing
from models.network.sequence_model import ItemTable
from models.network.teacher import Teacher
from models.training.distillation import TeacherRecord

TEACHER: Final = "teacher"
RETRIEVAL: Final = "recstream-retrieval"

_AT_ONCE = 64


class TeacherMethod:
    """Orders all items by nearness to the teacher's user vector, like `recstream-retrieval`.

    The teacher reads the events that a state covers in serving. Without a history, long-term popularity decides.
    """

    def __init__(
        self, split: Split, teacher: Teacher, record: TeacherRecord, inputs: ItemInputs, encoder: str
    ) -> None:
        """Args:
            split: The split.
            teacher: The teacher.
            record: What the teacher was trained with.
            inputs: Text and media vectors of the split's items.
            encoder: Fingerprint of the encoder of their texts.

        Raises:
            TrainedOnOther: The teacher was trained on other events than the training part.
            WeightsMissing: The teacher was trained with another text encoder or other actions.
        """
        self.name = TEACHER
        if record.data_fingerprint != split.training_events.fingerprint():
            raise TrainedOnOther(
                f"the teacher was trained on other events than the training part of {split.name}"
            )
        if record.text_encoder != encoder:
            raise WeightsMissing(
                "the teacher was trained with another text encoder: set train.encoders to that one"
            )
        if tuple(record.settings.actions) != split.known.action_names:
            raise WeightsMissing(
                f"the teacher was trained on other actions: it knows {', '.join(record.settings.actions)}"
            )
        self._known, self._teacher, self._settings = split.known, teacher, record.settings
        self._gaps = event_gaps(split.known)
        positions = {item_id: place for place, item_id in enumerate(record.item_ids, start=1)}
        index = [positions.get(item_id, 0) for item_id in split.known.item_ids]
        with torch.inference_mode():
            self.vectors = teacher.vectors(ItemTable(inputs.text, torch.tensor(index), inputs.media))
        half_lives = record.settings.popularity_half_lives_days
        days = half_lives[len(half_lives) // 2] if split.known.timed else None
        self._lasting = Popularity(split.known, visible_events(split) & split.known.positive, days)

    @torch.inference_mode()
    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        found: Floats = self._lasting.scores(queries).astype(np.float32)
        settings, none = self._settings, np.zeros(0, np.int64)
        windows = [
            Window(covered_by_state(rows, settings.history, settings.refold_every), 0, none)
            for rows in queries.before
        ]
        known = np.array([place for place, window in enumerate(windows) if len(window.events)], np.int64)
        for start in range(0, len(known), _AT_ONCE):
            positions = known[start : start + _AT_ONCE]
            given = collate(self._known, self._gaps, [windows[place] for place in positions])
            users = self._teacher.final_user_vectors(self.vectors, given)
            found[positions] = (users @ self.vectors.T).numpy()
        return found


def with_teacher_notes(
    split: Split, rows: Sequence[MeasuredMethod], *, seed: int = 0
) -> list[MeasuredMethod]:
    """Adds a note to the teacher and to the student alone: how `recstream-retrieval`, which is the distilled student
    without the ranker, compares with them."""
    student = next((row.measured for row in rows if row.measured.name == RETRIEVAL), None)
    if student is None:
        return list(rows)
    return [
        replace(row, note=against(split, student, row.measured, seed))
        if row.measured.name in (TEACHER, ALONE)
        else row
        for row in rows
    ]


def against(split: Split, student: Measured, other: Measured, seed: int = 0) -> str:
    """Says how the student's NDCG@10 differs from the other's, with the interval of a paired bootstrap over users."""
    name = f"ndcg@{AT}"
    difference = student.figure(name) - other.figure(name)
    mean, (low, high) = (
        float(difference.mean()),
        Bootstrap(split.queries.users, seed=seed).interval(difference),
    )
    whole = float(other.figure(name).mean()) or float("nan")
    return (
        f"NDCG@{AT} of {student.name} minus that of this method: {mean:+.4f} (95 % {low:+.4f} to {high:+.4f}), "
        f"{mean / whole:+.1%} ({low / whole:+.1%} to {high / whole:+.1%})"
    )
