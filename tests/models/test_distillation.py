"""A training with a teacher: its files, how it resumes, and its rows in an evaluation."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress

from evaluation.errors import TrainedOnOther
from evaluation.method import EvalQueries
from evaluation.methods.product import product_methods
from evaluation.methods.teacher import TeacherMethod, with_teacher_notes
from evaluation.metrics.measure import measure
from evaluation.protocols.split import Split, split
from evaluation.report.results import MeasuredMethod
from inference.bundle.bundle import Manifest, read
from models.data.events import Events
from models.encoders.load import load_encoders
from models.encoders.settings import EncoderSettings
from models.errors import TrainingStopped, WeightsMissing
from models.training.distillation import load_teacher, teacher_file
from models.training.resume.checkpoint import Checkpoint
from models.training.settings import TeacherSettings, TrainSettings
from models.training.train import train_on
from profiles.actions import Action
from tests.evaluation.world import list_settings
from tests.models.stopped_runs import FILMS, StopAt, visits
from tests.models.tiny_bundle import text_model
from tests.models.tiny_training import tiny_settings

ACTIONS = {"rate": Action(positive_from=5.0, value_range=(1, 5))}
EVENTS = visits(20)
PART: Split = split(EVENTS, "next-item")
SHOW = Progress(disable=True)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return tiny_settings(
        tmp_path_factory.mktemp("text"),
        epochs=2,
        final_epochs=1,
        mixture_steps=3,
        batch=9,
        actions=ACTIONS,
        teacher=TeacherSettings(
            members=2, width=8, heads=2, layers=1, epochs=2, final_epochs=1, batch=9, long_term_weight=1.0
        ),
    )


@pytest.fixture(scope="module")
def bundle(settings: TrainSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("taught") / "bundle"
    train_on(PART.training_events, FILMS, settings, place)
    return place


def figures(manifest: Manifest) -> dict[str, float]:
    return {name: value for name, value in manifest.metrics.items() if name != "seconds"}


def row_of(settings: TrainSettings, bundle: Path, part: Split = PART) -> TeacherMethod:
    teacher, record = load_teacher(teacher_file(bundle))
    encoders = load_encoders(settings.encoders, FILMS)
    inputs = encoders.vectors(part.known.item_ids, FILMS, settings.cache, SHOW)
    return TeacherMethod(part, teacher, record, inputs, encoders.text.fingerprint())


def test_without_members_other_teacher_settings_do_not_matter(
    settings: TrainSettings, tmp_path: Path
) -> None:
    bundles = []
    for name, teacher in (
        ("none", TeacherSettings()),
        ("other", TeacherSettings(width=16, distillation_weight=1.0)),
    ):
        wanted = settings.model_copy(update={"teacher": teacher})
        bundles.append(train_on(EVENTS, FILMS, wanted, tmp_path / name))
        assert not teacher_file(tmp_path / name).exists()
    assert bundles[0].files == bundles[1].files and figures(bundles[0]) == figures(bundles[1])


def test_the_teacher_is_beside_the_bundle_and_not_inside(settings: TrainSettings, bundle: Path) -> None:
    teacher, record = load_teacher(teacher_file(bundle))
    assert len(teacher.each()) == 2 and record.settings.teacher == settings.teacher
    kept = read(bundle)
    assert [kept.item_index(item) for item in record.item_ids] == list(range(1, len(record.item_ids) + 1))
    alone = train_on(
        PART.training_events,
        FILMS,
        settings.model_copy(update={"teacher": TeacherSettings()}),
        bundle.with_name("alone"),
    )
    taught = kept.manifest
    assert sorted(alone.files) == sorted(taught.files), "the same graphs"
    assert alone.files != taught.files, "with other numbers"


def test_a_training_with_a_teacher_resumes(settings: TrainSettings, bundle: Path, tmp_path: Path) -> None:
    stops, manifest = 0, None
    for run in count():
        checkpoint = Checkpoint(tmp_path / "bundle.checkpoint", StopAt((2, 5, 3)[run % 3]))
        try:
            manifest = train_on(
                PART.training_events, FILMS, settings, tmp_path / "bundle", checkpoint=checkpoint
            )
            break
        except TrainingStopped:
            stops += 1
    whole_run = read(bundle).manifest
    assert stops > 6 and manifest.files == whole_run.files and figures(manifest) == figures(whole_run)
    one, other = (
        load_teacher(teacher_file(place))[0].state_dict() for place in (bundle, tmp_path / "bundle")
    )
    assert all(torch.equal(one[name], numbers) for name, numbers in other.items())


def test_a_new_training_without_a_teacher_removes_the_old_one(
    settings: TrainSettings, tmp_path: Path
) -> None:
    place = tmp_path / "bundle"
    short = settings.model_copy(update={"epochs": 1, "held_out": 0.0})
    train_on(EVENTS, FILMS, short, place)
    assert teacher_file(place).is_file()
    train_on(EVENTS, FILMS, short.model_copy(update={"teacher": TeacherSettings()}), place)
    assert not teacher_file(place).exists()


def test_a_list_of_the_teacher_depends_only_on_its_window(settings: TrainSettings, bundle: Path) -> None:
    """Other queries of the batch do not matter. A user without history gets popularity."""
    row = row_of(settings, bundle)
    queries = PART.queries.part(0, 12)
    scores = row.scores(queries)
    for place in range(len(queries)):
        np.testing.assert_allclose(
            row.scores(queries.part(place, place + 1))[0], scores[place], rtol=1e-4, atol=1e-4
        )
    nobody = EvalQueries(queries.users[:1], [np.zeros(0, np.int64)], queries.time_ms[:1], queries.visible[:1])
    alone = row.scores(nobody)[0]
    liked = np.bincount(
        EVENTS.items[: queries.visible[0]][EVENTS.positive[: queries.visible[0]]], minlength=24
    )
    assert alone.shape == (24,) and alone[liked == 0].max(initial=0) <= alone.max()
    assert (alone[liked == 0] == 0).all() and (alone[liked > 0] > 0).all()


def test_evaluation_compares_the_student_with_its_teacher_and_with_itself_alone(
    settings: TrainSettings, bundle: Path, tmp_path: Path
) -> None:
    alone = train_on(
        PART.training_events,
        FILMS,
        settings.model_copy(update={"teacher": TeacherSettings()}),
        tmp_path / "alone",
    )
    assert alone.version == 7
    composed = list_settings(ACTIONS)
    rows = product_methods(PART, FILMS, [], read(bundle), composed, alone=read(tmp_path / "alone"))
    rows.append(row_of(settings, bundle))
    assert [row.name for row in rows] == ["recstream", "recstream-retrieval", "student alone", "teacher"]
    found = with_teacher_notes(PART, [MeasuredMethod(measure(PART, row), baseline=False) for row in rows])
    assert [bool(row.note) for row in found] == [False, False, True, True]
    difference = found[1].measured.figure("ndcg@10").mean() - found[3].measured.figure("ndcg@10").mean()
    assert f"{difference:+.4f} (95 % " in found[3].note


def test_a_teacher_of_other_events_is_refused(settings: TrainSettings, bundle: Path) -> None:
    with pytest.raises(TrainedOnOther):
        row_of(settings, bundle, split(EVENTS, "leave-one-out"))


def test_a_teacher_of_another_text_encoder_is_refused(
    settings: TrainSettings, bundle: Path, tmp_path: Path
) -> None:
    encoders = EncoderSettings(text_model=str(text_model(tmp_path / "model", width=16)))
    with pytest.raises(WeightsMissing, match="another text encoder"):
        row_of(settings.model_copy(update={"encoders": encoders, "cache": None}), bundle)


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_a_file_that_holds_no_teacher_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "bundle.teacher"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WeightsMissing, match=r"bundle\.teacher"):
        load_teacher(file)


def test_events_with_other_actions_are_refused(settings: TrainSettings, bundle: Path) -> None:
    known = PART.known
    renamed = Events(
        **{n: getattr(known, n) for n in Events.__dataclass_fields__} | {"action_names": ("view",)}
    )
    part = Split(**{n: getattr(PART, n) for n in Split.__dataclass_fields__} | {"known": renamed})
    with pytest.raises((WeightsMissing, TrainedOnOther)):
        row_of(settings, bundle, part)
