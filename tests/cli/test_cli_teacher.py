"""Settings alone add a teacher: it is trained, measured with its student, and shown by `make quality`."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from cli.app import app
from configuration.settings import Settings
from evaluation.data import Data
from evaluation.quality.machine import machine
from evaluation.quality.page import write_page
from evaluation.quality.run import Plan, Quality
from models.data.events import ItemText
from models.training.distillation import teacher_file
from tests.evaluation.world import ACTIONS, crowd, known
from tests.models.tiny_bundle import text_model

TEACHER = {"members": 1, "width": 8, "heads": 2, "layers": 1, "epochs": 1, "final_epochs": 1}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_model(tmp_path_factory.mktemp("text") / "model")


def tiny(text: Path) -> dict[str, object]:
    return {
        "encoders": {"text_model": str(text)}, "width": 8, "channels": 16, "hidden": 16, "epochs": 1, "final_epochs": 1,
        "threads": 1, "mixture_steps": 2,
    }  # fmt: skip


def test_train_and_evaluate_show_a_teacher_and_the_student_alone(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = crowd(length=10)
    lines = [f"{user},{item},rate,{at},{value}" for user, item, _, at, value in rows]
    head = "user_id,item_id,action,timestamp,rating"
    (tmp_path / "interactions.csv").write_text("\n".join([head, *lines]) + "\n")
    for name, value in tiny(text).items():
        if name == "encoders":
            monkeypatch.setenv("RECSTREAM_TRAIN__ENCODERS__TEXT_MODEL", str(text))
        else:
            monkeypatch.setenv(f"RECSTREAM_TRAIN__{name.upper()}", str(value))

    def recstream(command: str, *more: str) -> str:
        given = [
            command,
            "--interactions",
            "interactions.csv",
            "--time-unit",
            "milliseconds",
            "--protocol",
            "next-item",
        ]
        answer = CliRunner().invoke(app, [*given, *more], catch_exceptions=False, env={"COLUMNS": "160"})
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    recstream("train", "--bundle", "alone")
    for name, value in TEACHER.items():
        monkeypatch.setenv(f"RECSTREAM_TRAIN__TEACHER__{name.upper()}", str(value))
    recstream("train", "--bundle", "taught")
    assert teacher_file(tmp_path / "taught").is_file() and not teacher_file(tmp_path / "alone").exists()
    plain = recstream("evaluate", "--bundle", "alone", "--baselines", "none", "--json")
    assert [row["name"] for row in json.loads(plain.splitlines()[-1])["methods"]] == [
        "recstream", "recstream-retrieval",
    ]  # fmt: skip
    asked = "--bundle", "taught", "--alone", "alone", "--baselines", "none", "--json"
    found = json.loads(recstream("evaluate", *asked).splitlines()[-1])["methods"]
    assert [row["name"] for row in found] == ["recstream", "recstream-retrieval", "student alone", "teacher"]
    one, alone, teacher = (row["ndcg@10"] for row in found[1:])
    assert (
        f"{one - alone:+.4f} (95 %" in found[2]["note"] and f"{one - teacher:+.4f} (95 %" in found[3]["note"]
    )
    elsewhere = teacher_file(tmp_path / "taught").rename(tmp_path / "elsewhere")
    again = recstream("evaluate", "--teacher", str(elsewhere), *asked)
    assert json.loads(again.splitlines()[-1])["methods"] == found


@pytest.mark.drill
def test_quality_shows_both_rows_if_there_is_a_teacher(text: Path, tmp_path: Path) -> None:
    events = known(crowd(users=30))
    data = Data(events, [ItemText(item, f"film {item}") for item in events.item_ids])
    settings = Settings.model_validate(
        {
            "train": tiny(text) | {"version": 3, "teacher": TEACHER},
            "profiles": {"history": 8, "refold_every": 4, "actions": ACTIONS},
        }
    )
    plan = Plan(tmp_path, (0,), ("popularity",), cold=False)
    made = Quality(
        settings, plan, Console(file=io.StringIO()), lambda: Progress(disable=True), data, published="nothing"
    ).run()
    for result in made.results:
        names = [row.name for row in result.rows if row.name != "recstream-int8"]
        assert names == ["recstream", "recstream-retrieval", "student alone", "teacher", "popularity"]
    write_page(tmp_path / "docs" / "quality.md", made, machine())
    page = (tmp_path / "docs" / "quality.md").read_text()
    assert page.count("- teacher: NDCG@10 of recstream-retrieval minus that of this method") == len(
        made.results
    )
