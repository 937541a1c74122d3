"""Training creates every tensor on the model's device, and writes CPU tensors."""

from pathlib import Path

import pytest
import torch

import tests.models.device_runs as device_runs
import tests.models.worker_runs as worker_runs
from inference.bundle.bundle import read
from models.errors import DeviceMissing
from models.network.scan import parallel_scan, sequential_scan
from models.training.distributed.devices import device_of

# A process starts, and loads torch.
pytestmark = pytest.mark.timeout(300)


@pytest.mark.drill
def test_a_training_on_another_device_equals_that_on_the_cpu(tmp_path: Path) -> None:
    """With all items in the softmax, and with a sample of them."""
    assert worker_runs.spawned(1, device_runs.train_there, tmp_path, (16, 4096)) == [0]
    for negatives in (16, 4096):
        near = device_runs.train(tmp_path / "near", negatives)
        far = read(tmp_path / f"far-{negatives}").manifest
        for name in ("encoder_loss", "list_loss", "pair_loss"):
            assert far.metrics[name] == pytest.approx(near.metrics[name], rel=1e-3)


@pytest.mark.drill
def test_the_pretend_device_refuses_what_a_gpu_would() -> None:
    assert worker_runs.spawned(1, device_runs.mix) == [0]


def test_both_scans_are_equal() -> None:
    decay, entering = torch.rand(2, 3, 37, 4)
    torch.testing.assert_close(parallel_scan(decay, entering), sequential_scan(decay, entering))


@pytest.mark.parametrize(
    ("wanted", "rank", "gpus", "found"),
    [("auto", 0, 0, "cpu"), ("auto", 1, 2, "cuda:1"), ("cpu", 0, 2, "cpu"), ("cuda", 0, 1, "cuda:0")],
)
def test_each_process_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, wanted: str, rank: int, gpus: int, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert str(device_of(wanted, rank)) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(("wanted", "gpus"), [("cuda", 0), ("cuda", 1), ("auto", 1)])
def test_the_error_names_a_missing_gpu(monkeypatch: pytest.MonkeyPatch, wanted: str, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(DeviceMissing, match=f"torch sees {gpus}"):
        device_of(wanted, 1)  # type: ignore[arg-type]
