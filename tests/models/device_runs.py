"""Runs on the pretend device. A process of its own imports this module by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

import models.network.scan
import models.training.train
from inference.bundle.bundle import Manifest
from models.data.events import ItemText, Media, index_events
from models.encoders.load import Encoders, load_encoders
from models.encoders.settings import EncoderSettings
from models.training.distributed.torchrun import TorchrunRank
from models.training.settings import TrainSettings
from models.training.train import train_on
from profiles.actions import Action, Actions
from tests.models.pretend_device import MixedDevices, on_the_cpu, pretend_device, pretending
from tests.models.tiny_bundle import TinyImages, image_file, text_model

ACTIONS = {"rate": Action(positive_from=4.0, value_range=(1, 5))}
ITEMS = [
    ItemText(str(i), f"film {i}", 10**6, (Media("image", image_file("red" if i % 2 else "blue")),))
    for i in range(20)
]


class Table:
    """Ten users who walk around a circle of twenty items."""

    user_ids = [f"u{row % 10}" for row in range(90)]
    item_ids = [str((row % 10 + row // 10) % 20) for row in range(90)]
    actions = ["rate"] * 90
    time_ms = np.arange(90) * 3_600_000
    values = 4.0 + np.arange(90) // 10 % 2


def train(bundle: Path, negatives: int) -> Manifest:
    """Trains all stages, with texts and images. Items are sampled if there are more than `negatives`."""
    source = text_model(bundle.with_name(f"{bundle.name}-text"))
    settings = TrainSettings(
        encoders=EncoderSettings(text_model=str(source)),
        width=8, channels=12, hidden=16, history=4, refold_every=2, epochs=2, final_epochs=1,
        mixture_steps=4, actions=ACTIONS, advantage=0.2, negatives=negatives, threads=1, version=1, device="cpu",
        ranker_candidates=16,
    )  # fmt: skip
    encoders = load_encoders(settings.encoders)
    encoders = Encoders(encoders.text, encoders.tokenizer, encoders.tokens, (TinyImages(),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.training.train, "load_encoders", lambda *_: encoders)
        return train_on(index_events([Table()], ITEMS, Actions(ACTIONS)), ITEMS, settings, bundle)


def train_there(_: TorchrunRank, folder: Path, several: tuple[int, ...]) -> None:
    """Trains on the pretend device, one bundle for each number of negatives."""
    with pytest.MonkeyPatch.context() as patch:
        scans: list[torch.device] = []
        parallel_scan = models.network.scan.parallel_scan
        patch.setattr(
            models.network.scan,
            "parallel_scan",
            lambda a, b: (scans.append(a.device), parallel_scan(a, b))[1],
        )
        patch.setattr(models.training.train, "device_of", lambda *_: pretend_device())
        patch.setattr(models.training.train, "write_bundle", on_the_cpu(models.training.train.write_bundle))
        with pretending() as device:
            for negatives in several:
                train(folder / f"far-{negatives}", negatives)
    assert set(scans) == {device}, "the scan is the one for GPUs"


def mix(_: TorchrunRank) -> None:
    """Checks which operands an operation on a GPU refuses and accepts."""
    with pretending() as device:
        there = torch.ones(3, device=device)
        with pytest.raises(MixedDevices, match="is on the CPU"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError):
            there.numpy()
        assert float((there * 2.0).sum()) == 6 and (there * torch.tensor(2.0)).device == device
        assert there.cpu().numpy().tolist() == [1, 1, 1]
