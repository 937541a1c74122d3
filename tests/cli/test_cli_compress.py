"""`recstream model compress`: what it measures, what it refuses, and what it writes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import evaluation.int8_comparison as comparison
import models.export.compression.int8_bundle as int8_bundle
from cli.app import app
from cli.errors import CommandError
from cli.file_options import FileOptions
from configuration.settings import Settings
from evaluation.data import data_of
from evaluation.protocols.split import training_part
from inference.bundle.bundle import read
from tests.evaluation.world import crowd
from tests.models.tiny_bundle import build


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compress")
    rows = crowd(users=20)
    lines = [f"{user},{item},rate,{at},{value}" for user, item, _, at, value in rows]
    (folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,action,timestamp,rating", *lines]) + "\n"
    )
    build(folder / "bundle", sorted({item for _, item, *_ in rows}))
    return folder


def trained_on(files: Path, *, everything: bool) -> None:
    """Makes the bundle claim that it was trained on these events."""
    manifest = json.loads((files / "bundle" / "manifest.json").read_text())
    known = data_of(
        FileOptions(time_unit="milliseconds").read([files / "interactions.csv"]), Settings()
    ).known
    learned = known if everything else training_part(known, "future")
    manifest["data_fingerprint"] = learned.fingerprint()
    (files / "bundle" / "manifest.json").write_text(json.dumps(manifest))


def compress(files: Path, out: Path) -> str:
    answer = CliRunner().invoke(
        app,
        ["model", "compress", str(files / "bundle"), "--out", str(out), "--protocol", "future",
         "--interactions", str(files / "interactions.csv"), "--time-unit", "milliseconds"],
        catch_exceptions=False, env={"COLUMNS": "140"},
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.mark.parametrize(
    ("everything", "events"),
    [(False, "events that it has not seen"), (True, "events that it was trained on")],
)
def test_it_measures_both_and_writes_a_bundle_with_its_loss(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool, events: str
) -> None:
    # The model has learned nothing, so rounding changes a lot.
    monkeypatch.setattr(comparison, "MOST_LOSS", 1.0)
    monkeypatch.setattr(
        int8_bundle.write_int8, "__kwdefaults__", int8_bundle.write_int8.__kwdefaults__ | {"least": 2}
    )
    trained_on(files, everything=everything)
    said = compress(files, tmp_path / "small" / "int8")
    assert events in " ".join(said.split())
    for part in ("item_encoder", "user_step", "user_fold", "ranker", "MB int8", "us int8, 16", "all"):
        assert part in said
    manifest = read(tmp_path / "small" / "int8").manifest
    assert manifest.precision == "int8" and {"ndcg@10_float32", "ndcg@10_int8", "int8_loss"} <= set(
        manifest.metrics
    )
    assert f"loss {manifest.metrics['int8_loss']:.2%}" in " ".join(said.split())


def test_a_bundle_that_loses_too_much_is_refused_and_not_written(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST_LOSS", -1.0)  # Even no loss is too much here.
    trained_on(files, everything=False)
    with pytest.raises(CommandError, match=r"future: int8 loses -?\d+\.\d% of NDCG@10 \(0\.\d+ in float32"):
        compress(files, tmp_path / "int8")
    assert not list(tmp_path.iterdir())


def test_a_bundle_of_other_data_cannot_be_measured(files: Path, tmp_path: Path) -> None:
    manifest = json.loads((files / "bundle" / "manifest.json").read_text()) | {"data_fingerprint": "other"}
    (files / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CommandError, match="trained on other events"):
        compress(files, tmp_path / "int8")
    assert not list(tmp_path.iterdir())
