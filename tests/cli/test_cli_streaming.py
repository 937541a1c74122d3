"""Which files are trained on from disk, and which options are refused then."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.commands.train import stays_on_disk
from cli.errors import CommandError
from inference.bundle.bundle import read
from tests.models.tiny_bundle import text_model


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    user, step = (part.ravel() for part in np.divmod(np.arange(108), 9))
    columns = {
        "user_id": [f"u{u}" for u in user],
        "item_id": [f"i{item}" for item in (user + step) % 15],
        "timestamp": 1_000_000_000 + 3600 * step + user,
        "rating": [*(4.0 + step[:-1] % 2), 9.0],
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_files_of_many_events_stay_on_disk_and_no_others(events: Path, tmp_path: Path) -> None:
    assert stays_on_disk([events], None, 108) and not stays_on_disk([events], None, 109)
    assert stays_on_disk([events, events], "events", 216)
    assert not stays_on_disk([events], "sequences", 0)
    (tmp_path / "events.csv").write_text("user,item,time\na,b,1\n")
    (tmp_path / "broken.parquet").write_text("no Parquet")
    for other in ("events.csv", "broken.parquet", "missing.parquet"):
        assert not stays_on_disk([tmp_path / other], None, 0)


@pytest.mark.parametrize("option", [["--until", "0.5"], ["--protocol", "future"]])
def test_options_that_need_all_events_are_refused(
    events: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.setenv("RECSTREAM_TRAIN__STREAMING__FROM_ROWS", "100")
    with pytest.raises(CommandError, match=r"need all events in memory.*train\.streaming\.from_rows"):
        CliRunner().invoke(app, ["train", "--interactions", str(events), *option], catch_exceptions=False)


def test_a_model_is_trained_from_disk_and_leaves_only_the_bundle(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "BUNDLE": str(tmp_path / "bundle"),
        "TRAIN__ENCODERS__TEXT_MODEL": str(text_model(tmp_path / "text")),
        "TRAIN__EPOCHS": "1",
        "TRAIN__FINAL_EPOCHS": "1",
        "TRAIN__MIXTURE_STEPS": "4",
        "TRAIN__WIDTH": "8",
        "TRAIN__STREAMING__FROM_ROWS": "100",
        "TRAIN__STREAMING__SHARD_ROWS": "30",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"RECSTREAM_{name}", value)
    done = CliRunner().invoke(app, ["train", "--interactions", str(events)], catch_exceptions=False)
    assert "107 of 108 events" in done.output, "one has a rating that no server takes"
    assert read(tmp_path / "bundle").manifest.metrics["events"] == 107
    assert not list(tmp_path.glob("*-shards")) and not list(tmp_path.glob(".bundle*"))
