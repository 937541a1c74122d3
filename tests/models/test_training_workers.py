"""Several processes train the same model as one process, and none waits forever."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import tests.models.worker_runs as worker_runs
from inference.bundle.bundle import read
from models.training.distributed.torchrun import TorchrunRank, torchrun_rank
from tests.models.tiny_bundle import text_model

# Processes start, and load torch.
pytestmark = [pytest.mark.timeout(300), pytest.mark.drill]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes trained and drew numbers, as one group."""
    folder = tmp_path_factory.mktemp("pair")
    assert worker_runs.spawned(2, worker_runs.train_and_draw, folder) == [0, 0]
    return folder


def test_two_processes_with_half_a_batch_each_make_the_steps_of_one(pair: Path) -> None:
    worker_runs.train_both_stages(TorchrunRank(), pair)
    alone, losses = torch.load(pair / "1-0.pt")
    for rank in range(2):
        together, broadcast = torch.load(pair / f"2-{rank}.pt")
        assert len(losses) >= 8 and broadcast == pytest.approx(losses, rel=1e-4)
        for name, numbers in alone.items():
            torch.testing.assert_close(together[name], numbers, rtol=0, atol=1e-5, msg=name)


def test_shares_add_up_to_the_batch_and_random_draws_differ(pair: Path) -> None:
    drawn = (torch.load(pair / f"drawn-{rank}.pt") for rank in range(2))
    shares, numbers, torch_numbers = zip(*drawn, strict=True)
    assert sorted(window for part in shares for window in part) == list(range(11))
    assert len(set(numbers)) == len(set(torch_numbers)) == 2


def test_no_thread_of_a_process_group_is_left(pair: Path) -> None:
    """Such a thread would run until the interpreter exits, where it can abort the process."""
    for rank in range(2):
        meanwhile, afterwards = torch.load(pair / f"threads-{rank}.pt")
        assert meanwhile and not afterwards


@pytest.mark.parametrize("dies", [True, False])
def test_a_lost_process_ends_the_others_in_time(tmp_path: Path, dies: bool) -> None:
    first, _ = worker_runs.spawned(2, worker_runs.lose_one, tmp_path, dies, 5.0)
    assert first == 1, "it ends with an error"
    assert float((tmp_path / "waited").read_text()) < 15


def test_torchrun_trains_one_bundle(tmp_path: Path) -> None:
    """Trains from shards on disk, which one of the processes writes."""
    user, step = np.divmod(np.arange(108), 9)
    columns = {
        "user": [f"u{u}" for u in user],
        "item": [f"i{item}" for item in (user + step) % 15],
        "time": 1_000_000_000 + 3600 * step + user,
    }
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    settings = {
        "BUNDLE": str(tmp_path / "bundle"),
        "TRAIN__ENCODERS__TEXT_MODEL": str(text_model(tmp_path / "text")),
        "TRAIN__STREAMING__FROM_ROWS": "100",
        "TRAIN__STREAMING__SHARD_ROWS": "40",
        "TRAIN__EPOCHS": "1",
        "TRAIN__FINAL_EPOCHS": "1",
        "TRAIN__MIXTURE_STEPS": "4",
        "TRAIN__WIDTH": "8",
    }
    environment = {**os.environ, **{f"RECSTREAM_{name}": value for name, value in settings.items()}}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'protos'}"
    # A process that a signal ends prints its stack.
    environment["PYTHONFAULTHANDLER"] = "1"
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "cli"]
    done = subprocess.run(
        [sys.executable, *torchrun, "train", "--interactions", str(tmp_path / "events.parquet")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("encoder_loss") == 1, "only one process prints"
    manifest = read(tmp_path / "bundle").manifest
    assert manifest.metrics["events"] == 108
    assert not list(tmp_path.glob("*-shards")) and not list(tmp_path.glob(".bundle*"))


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert torchrun_rank() == TorchrunRank(0, 1, 0, 1)
