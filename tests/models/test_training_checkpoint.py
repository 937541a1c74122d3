"""A training that is interrupted anywhere ends with the same numbers as an uninterrupted one."""

import errno
import io
import os
import pickle
import shutil
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

import models.training.identity
import tests.models.stopped_runs as stopped_runs
import tests.models.worker_runs as worker_runs
from inference.bundle.bundle import Manifest
from models.atomic_write import atomic_write
from models.data.training_data import InMemoryData
from models.encoders.load import load_encoders
from models.errors import CheckpointRefused, CheckpointWriteFailed, TrainingStopped
from models.training.identity import training_identity
from models.training.resume import rng_state
from models.training.resume.checkpoint import Checkpoint
from models.training.resume.stop import Stop, stop_on_signals
from models.training.settings import TeacherSettings, TrainSettings
from models.training.train import train_on
from profiles.actions import Action
from tests.models.stopped_runs import FILMS, LosePower, PowerLost, StopAt, visits
from tests.models.tiny_training import tiny_settings

EVENTS = visits(20)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return tiny_settings(
        tmp_path_factory.mktemp("text"),
        epochs=2,
        final_epochs=2,
        weight_averaging=0.5,
        mixture_steps=3,
        batch=9,
        negatives=16,
        teacher=TeacherSettings(
            members=1, width=8, heads=2, layers=1, epochs=1, final_epochs=1, batch=9, long_term_weight=1.0
        ),
        actions={"rate": Action(positive_from=5.0, value_range=(1, 5))},
    )


@pytest.fixture(scope="module")
def whole(settings: TrainSettings, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The manifest of the uninterrupted training."""
    return train_on(EVENTS, FILMS, settings, tmp_path_factory.mktemp("whole") / "bundle")


def figures(manifest: Manifest) -> dict[str, float]:
    return {name: value for name, value in manifest.metrics.items() if name != "seconds"}


def test_a_training_stopped_again_and_again_ends_with_the_same_bundle(
    settings: TrainSettings, whole: Manifest, tmp_path: Path
) -> None:
    stops, manifest = 0, None
    for run in count():
        checkpoint = Checkpoint(tmp_path / "bundle.checkpoint", StopAt((2, 3, 7, 8)[run % 4]))
        try:
            manifest = train_on(EVENTS, FILMS, settings, tmp_path / "bundle", checkpoint=checkpoint)
            break
        except TrainingStopped:
            stops += 1
        assert [path.name for path in tmp_path.iterdir()] == ["bundle.checkpoint"]
    assert stops > 6, "in every stage"
    assert manifest.files == whole.files, "every weight, to the last bit"
    assert figures(manifest) == figures(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.teacher"]


def test_a_lost_process_loses_only_what_came_after_the_last_epoch(
    settings: TrainSettings, whole: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.checkpoint"
    for look in (7, 9, 16):
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(PowerLost):
            train_on(
                EVENTS, FILMS, settings, tmp_path / "bundle", checkpoint=Checkpoint(path, LosePower(look))
            )
        assert path.read_bytes() != before, "at least one epoch was finished"
    manifest = train_on(EVENTS, FILMS, settings, tmp_path / "bundle", checkpoint=Checkpoint(path))
    assert manifest.files == whole.files and figures(manifest) == figures(whole)


def test_finished_stages_are_not_repeated(settings: TrainSettings, tmp_path: Path) -> None:
    ran = []
    for _ in range(2):
        checkpoint = Checkpoint(tmp_path / "checkpoint")
        checkpoint.open({"events": "a"})
        assert checkpoint.stage("one", lambda: ran.append("one") or 0.5) == 0.5  # type: ignore[func-returns-value]
    assert ran == ["one"]


@pytest.mark.drill
def test_two_processes_stop_at_the_same_step_and_resume_together(tmp_path: Path) -> None:
    trainings = {"whole": [], "stopped": [1, 3, 2]}
    assert worker_runs.spawned(2, stopped_runs.encoder_stage, tmp_path, trainings) == [0, 0]
    weights, loss = torch.load(tmp_path / "whole.pt")
    again, loss_again = torch.load(tmp_path / "stopped.pt")
    assert loss == loss_again
    assert all(torch.equal(again[name], numbers) for name, numbers in weights.items())


def stopped(settings: TrainSettings, folder: Path) -> Path:
    path = folder / "checkpoint"
    with pytest.raises(TrainingStopped):
        train_on(EVENTS, FILMS, settings, folder / "bundle", checkpoint=Checkpoint(path, StopAt(2)))
    return path


def test_a_refused_checkpoint_names_the_differences(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stopped(settings, tmp_path)

    def refusal(events=EVENTS, films=FILMS, **changed: object) -> str:  # type: ignore[no-untyped-def]
        wanted = settings.model_copy(update=changed)
        with pytest.raises(CheckpointRefused) as refused:
            train_on(events, films, wanted, tmp_path / "bundle", checkpoint=Checkpoint(path))
        return str(refused.value)

    before = path.read_bytes()
    assert "setting train.epochs (2 in the checkpoint, 3 now)" in refusal(epochs=3)
    fewer = EVENTS.take(np.arange(len(EVENTS) - 1))
    assert "events" in refusal(fewer) and "setting" not in refusal(fewer)
    assert "items" in refusal(films=[*FILMS[1:], replace(FILMS[0], text="other")])
    with monkeypatch.context() as patched:
        patched.setattr(models.training.identity, "TRAINING_FORMAT", 0)
        assert "training format" in refusal()
    assert path.read_bytes() == before
    checkpoint = Checkpoint(path, StopAt(1))
    # These settings only change the speed, and the name of the result.
    faster = settings.model_copy(update={"threads": 2, "version": 8, "cache": tmp_path / "vectors"})
    with pytest.raises(TrainingStopped):
        train_on(EVENTS, FILMS, faster, tmp_path / "bundle", checkpoint=checkpoint)


def test_an_edited_comment_does_not_refuse_a_training(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity reads no source file, so its bytes cannot matter."""
    encoders = load_encoders(settings.encoders, FILMS)
    opened: list[str] = []
    real = io.open

    def recording(file, *arguments, **options):  # type: ignore[no-untyped-def]
        opened.append(str(file))
        return real(file, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(io, "open", recording)
        patched.setattr("builtins.open", recording)
        found = training_identity(InMemoryData(EVENTS), FILMS, encoders, settings)
    assert opened, "the encoder's weights are read"
    assert not [path for path in opened if path.endswith((".py", ".pyc"))]
    assert "training format" in found and not [name for name in found if "code" in name.split()]


def test_encoders_are_identified_by_weights_and_not_by_path(settings: TrainSettings, tmp_path: Path) -> None:
    source = Path(settings.encoders.text_model)
    moved = settings.encoders.model_copy(
        update={"text_model": str(shutil.copytree(source, tmp_path / "moved"))}
    )
    one, other = (
        training_identity(
            InMemoryData(EVENTS), FILMS, load_encoders(each), settings.model_copy(update={"encoders": each})
        )
        for each in (settings.encoders, moved)
    )
    assert one == other


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"format": 1, "identity": Harm()})])
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_no_code(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(CheckpointRefused, match="cannot be read"):
        Checkpoint(tmp_path / "checkpoint").open({})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_failed_write_raises_and_leaves_the_previous_checkpoint(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stopped(settings, tmp_path)
    before, files = path.read_bytes(), sorted(tmp_path.iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointWriteFailed, match="checkpoint .* cannot be written: No space left"):
        train_on(EVENTS, FILMS, settings, tmp_path / "bundle", checkpoint=Checkpoint(path, StopAt(1)))
    assert path.read_bytes() == before and sorted(tmp_path.iterdir()) == files


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    """cachew 90, ramen 1386: both wrote to one temporary file, and the second found it gone, or half its own."""
    path = tmp_path / "checkpoint"
    with atomic_write(path) as first:
        first.write(b"first, ")
        with atomic_write(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b"whole")
    assert path.read_bytes() == b"first, whole"

    def interrupted() -> None:
        with atomic_write(path) as broken:
            broken.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert path.read_bytes() == b"first, whole" and list(tmp_path.iterdir()) == [path]


def test_every_random_generator_continues_from_its_saved_state() -> None:
    import random

    def drawn() -> list[float]:
        generators = [random.random(), random.gauss(0, 1), np.random.normal(), np.random.random()]
        return [*generators, float(torch.rand(())), float(rng.random()), int(rng.integers(9))]

    rng = np.random.default_rng(5)
    rng.integers(9, dtype=np.uint32)  # leaves half a word
    np.random.normal()  # leaves half a pair
    process, own = rng_state.process_states(), rng_state.generator_states([rng])
    expected = drawn()
    drawn()
    rng_state.restore_process(process)
    rng_state.restore_generators(own, [rng])
    assert drawn() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_a_safe_point_and_the_second_does_not(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        stop.deferred = True
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_DFL
    assert signal.getsignal(number) == before


def test_a_stop_without_a_file_stops_the_training() -> None:
    stop = Stop()
    checkpoint = Checkpoint(None, stop)
    checkpoint.open({})
    checkpoint.track("model", torch.nn.Linear(1, 1))
    stop.request()
    with pytest.raises(TrainingStopped, match="stopped"):
        checkpoint.stage("one", lambda: 0.0)
