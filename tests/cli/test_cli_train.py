"""`recstream train` survives Ctrl-C, and continues with newer events."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.errors import CommandError
from inference.bundle.bundle import read
from tests.models.tiny_bundle import text_model

RUN = CliRunner()


def rows(first_user: int, users: int, start: int) -> list[str]:
    return [
        f"u{user},i{(user + step) % 15},{start + 3600 * step + user},{4 + step % 2}"
        for user in range(first_user, first_user + users)
        for step in range(9)
    ]


class Command:
    """The command in a folder, with a model that trains in a second."""

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self.folder, self._environment = folder, environment
        self.set("BUNDLE", str(folder / "bundle"))
        self.set("TRAIN__ENCODERS__TEXT_MODEL", str(text_model(folder / "text")))
        for name, value in (("FINAL_EPOCHS", 3), ("MIXTURE_STEPS", 4), ("WIDTH", 8), ("THREADS", 1)):
            self.set(f"TRAIN__{name}", str(value))
        self.set("TRAIN__EPOCHS", "150")
        self.events(rows(0, 12, 10**9))

    def set(self, name: str, value: str) -> None:
        self._environment.setenv(f"RECSTREAM_{name}", value)

    def events(self, lines: list[str]) -> None:
        (self.folder / "events.csv").write_text("\n".join(["user,item,time,rating", *lines]))

    def run(self, *flags: str) -> str:
        answer = RUN.invoke(app, ["train", "--interactions", str(self.folder / "events.csv"), *flags])
        if isinstance(answer.exception, CommandError):
            raise answer.exception
        assert answer.exit_code == 0, answer.output
        return " ".join(answer.output.split())

    def interrupted(self, number: signal.Signals, *flags: str) -> str:
        """The signal comes after an epoch."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(0.001):
                if self.checkpoint.exists():
                    os.kill(os.getpid(), number)
                    break

        sender = threading.Thread(target=send)
        sender.start()
        try:
            answer = RUN.invoke(app, ["train", "--interactions", str(self.folder / "events.csv"), *flags])
        finally:
            over.set()
            sender.join()
        assert answer.exit_code == 130, answer.output
        return " ".join(answer.output.split())

    @property
    def checkpoint(self) -> Path:
        return self.folder / "bundle.checkpoint"

    def files(self) -> dict[str, str]:
        """Returns checksums of the bundle's files, without the version in their paths."""
        manifest = read(self.folder / "bundle").manifest
        return {name.replace(str(manifest.version), "*"): digest for name, digest in manifest.files.items()}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(tmp_path, monkeypatch)


@pytest.mark.drill
def test_the_same_command_continues_an_interrupted_training(
    command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    command.run()
    whole = command.files()
    said = command.interrupted(signal.SIGINT)
    assert "Stopping after this step" in capfd.readouterr().err
    assert f"The checkpoint is {command.checkpoint}. The same command resumes from it" in said
    before = command.checkpoint.read_bytes()

    command.set("TRAIN__EPOCHS", "151")
    with pytest.raises(
        CommandError, match=r"setting train\.epochs \(150 in the checkpoint, 151 now\)"
    ) as refused:
        command.run()
    assert "--fresh" in refused.value.next_step and command.checkpoint.read_bytes() == before
    command.set("TRAIN__EPOCHS", "150")

    said = command.run()
    assert "Resuming" in said and "Encoder without the held-out events is in epoch" in said
    assert "trained in" in said, "it ends with the table"
    assert command.files() == whole and not command.checkpoint.exists()


def test_a_training_that_is_terminated_leaves_the_bundle_unchanged(command: Command) -> None:
    command.set("TRAIN__EPOCHS", "2")
    command.run()
    manifest = read(command.folder / "bundle").manifest
    command.set("TRAIN__EPOCHS", "150")
    assert str(command.checkpoint) in command.interrupted(signal.SIGTERM)
    assert read(command.folder / "bundle").manifest == manifest
    command.set("TRAIN__EPOCHS", "3")
    command.run("--fresh")
    assert read(command.folder / "bundle").manifest != manifest
    assert not command.checkpoint.exists()


def test_the_training_of_a_bundle_continues_with_newer_events(command: Command) -> None:
    command.set("TRAIN__EPOCHS", "2")
    with pytest.raises(CommandError, match="train without --continue"):
        command.run("--continue")
    command.run()
    first = read(command.folder / "bundle").manifest
    with pytest.raises(CommandError, match="no event is later than"):
        command.run("--continue")
    command.events([*rows(0, 12, 10**9), *rows(8, 8, 10**9 + 86_400 * 9)])
    said = command.run("--continue")
    second = read(command.folder / "bundle").manifest
    assert second.version > first.version and second.metrics["events"] == 8 * 9
    assert (second.width, second.state_width) == (first.width, first.state_width)
    assert f"version {second.version}" in said and "encoder_loss" in said
    with pytest.raises(CommandError, match="takes one process"):
        command.run("--continue", "--protocol", "future")


def test_the_bundle_names_the_attributes_that_its_model_reads(command: Command) -> None:
    items = command.folder / "items.jsonl"
    lines = [
        {"item_id": f"i{n}", "title": f"film {n}", "brand": "Acme", "stock": "few", "price": n}
        for n in range(15)
    ]
    items.write_text("\n".join(map(json.dumps, lines)))
    command.set("TRAIN__EPOCHS", "1")
    command.run("--items", str(items))
    assert read(command.folder / "bundle").manifest.text_attributes == ("brand", "stock")
    # Later events of items with other attributes: the weights fit what was read before.
    items.write_text("\n".join(json.dumps({**line, "color": "red"}) for line in lines))
    command.events([*rows(0, 12, 10**9), *rows(0, 6, 10**9 + 10**6)])
    command.run("--continue", "--items", str(items))
    assert read(command.folder / "bundle").manifest.text_attributes == ("brand", "stock")
    command.set("TRAIN__TEXT_ATTRIBUTES", '["brand"]')
    with pytest.raises(
        CommandError, match=r"train\.text_attributes \(\('brand', 'stock'\) then, \('brand',\) now\)"
    ):
        command.run("--continue", "--items", str(items))
