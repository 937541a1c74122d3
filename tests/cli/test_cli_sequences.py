"""Two commands train and evaluate sequences of ids, and the measured events are not trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.errors import CommandError
from inference.bundle.bundle import read

SMALL = {
    "EPOCHS": 2,
    "FINAL_EPOCHS": 1,
    "MIXTURE_STEPS": 4,
    "WIDTH": 8,
    "CHANNELS": 16,
    "HIDDEN": 8,
    "THREADS": 1,
}


class Commands:
    """The two commands, with forty users who go through twenty items in a circle, and with labels."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bundle = folder, folder / "bundle"
        rng = np.random.default_rng(0)
        lines = [f"{user} " + " ".join(str(1 + (user + step) % 20) for step in range(rng.integers(3, 9)))
                 for user in range(1, 41)]  # fmt: skip
        (folder / "toys.txt").write_text("\n".join(lines) + "\n")
        labels = {str(item): [1, 2 + item % 3, 100 + item] for item in range(1, 21)}
        (folder / "attributes.json").write_text(json.dumps(labels))
        self.given = [
            "--interactions",
            str(folder / "toys.txt"),
            "--format",
            "sequences",
            "--bundle",
            str(self.bundle),
        ]
        self.attributes = ["--items", str(folder / "attributes.json")]

    def train(self, *flags: str) -> str:
        return " ".join(self._run(["train", *self.given, *flags]).split())

    def evaluate(self, *flags: str) -> dict[str, float]:
        """Returns the figures of the row `recstream`."""
        answer = self._run(
            ["evaluate", *self.given, "--protocol", "leave-one-out", "--json", "--baselines", "none", *flags]
        )
        found = json.loads(answer.strip().splitlines()[-1])
        (row,) = [row for row in found["methods"] if row["name"] == "recstream"]
        return {name: row[name] for name in ("hr@10", "ndcg@10")}

    @staticmethod
    def _run(words: list[str]) -> str:
        answer = CliRunner().invoke(app, words)
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        assert answer.exit_code == 0, answer.output
        return answer.stdout


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    for name, value in SMALL.items():
        monkeypatch.setenv(f"RECSTREAM_TRAIN__{name}", str(value))
    monkeypatch.chdir(tmp_path)
    return Commands(tmp_path)


def test_sequences_hold_out_the_measured_events_by_default(commands: Commands) -> None:
    said = commands.train(*commands.attributes)
    assert "last two positive events are held out" in said and "encoders.text_model labels" in said
    assert "width 256" not in said  # The test has set it.
    lines = (commands.folder / "toys.txt").read_text().splitlines()
    assert read(commands.bundle).manifest.metrics["events"] == sum(len(line.split()) - 3 for line in lines)
    # The result does not depend on the labels, because they are in the bundle and the items are the same.
    measured = commands.evaluate(*commands.attributes)
    assert commands.evaluate() == pytest.approx(measured, abs=1e-6)
    assert measured["hr@10"] > 0


def test_all_events_are_trained_on_if_requested_and_then_not_measured(commands: Commands) -> None:
    assert "held out" not in commands.train("--protocol", "all", *commands.attributes)
    lines = (commands.folder / "toys.txt").read_text().splitlines()
    assert read(commands.bundle).manifest.metrics["events"] == sum(len(line.split()) - 1 for line in lines)
    with pytest.raises(CommandError, match="was trained on other events"):
        commands.evaluate()
