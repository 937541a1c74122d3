"""Trainings that stop in the middle, for tests of checkpoints. Processes of a test import this module by name."""

from pathlib import Path

import numpy as np
import torch

import tests.models.worker_runs as worker_runs
from models.data.events import Events, ItemText
from models.errors import TrainingStopped
from models.network.recommender import Recommender, Shape
from models.network.sequence_model import ItemTable
from models.training.distributed.process_group import broadcast_module, join_process_group, seed_rank
from models.training.distributed.torchrun import TorchrunRank
from models.training.resume.checkpoint import Checkpoint
from models.training.resume.stop import Stop
from models.training.stages.fit_encoder import fit_encoder

FILMS = [ItemText(f"i{n}", f"film {n}", 10**11 if n % 2 else None) for n in range(24)]
DAY = 86_400_000


def visits(users: int, length: int = 12, start: int = 10**12, seed: int = 0, items: int = 24) -> Events:
    """Each user walks around a circle of items from a random start, one item a day. Every other event is positive."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        at = int(rng.integers(items))
        for step in range(length):
            rows.append((start + step * DAY + user, user, at % items, 4.0 + step % 2))
            at += 1 + int(rng.random() < 0.2)
    rows.sort()
    time_ms, of, what, values = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Events(
        [f"u{user}" for user in range(users)],
        [film.item_id for film in FILMS],
        ("rate",),
        of.astype(np.int64),
        what.astype(np.int64),
        np.zeros(n, np.int64),
        time_ms.astype(np.int64),
        values.astype(np.float32),
        values >= 5,
        np.zeros(n, np.bool_),
    )


class StopAt(Stop):
    """Requests a stop when `requested` is read for the `look`-th time."""

    def __init__(self, look: int) -> None:
        self.deferred, self._left = False, look

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self._left -= 1
        return self._left == 0


class PowerLost(Exception):
    """Ends a training at once, like a power cut."""


class LosePower(StopAt):
    """Raises PowerLost instead of requesting a stop."""

    @property
    def requested(self) -> bool:  # type: ignore[override]
        if super().requested:
            raise PowerLost
        return False


def encoder_stage(rank: TorchrunRank, folder: Path, trainings: dict[str, list[int]]) -> None:
    """Trains the first stage, and resumes it after each stop.

    `trainings` has the stops of each training by its name, under which the weights are saved. Process 1 requests a stop
    when `requested` is read for that many times.
    """
    with join_process_group(rank, 30):
        for name, stops in trainings.items():
            for look in [*stops, 10**9]:
                stop = StopAt(look if rank.rank == 1 else 10**9)
                model, loss = _trained(rank, Checkpoint(folder / f"{name}.checkpoint", stop))
                if loss is not None and rank.is_main:
                    torch.save((model.state_dict(), loss), folder / f"{name}.pt")


def _trained(rank: TorchrunRank, checkpoint: Checkpoint) -> tuple[Recommender, float | None]:
    torch.manual_seed(rank.rank)
    model = Recommender(
        Shape(
            text_width=5,
            width=8,
            channels=12,
            hidden=16,
            items=30,
            actions=1,
            value_mean=(3.0,),
            value_scale=(1.0,),
            value_range=(1.0, 5.0),
            popularities=1,
        ),
        0.2,
        0.1,
    )
    broadcast_module(model)
    seed_rank(0)
    text = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    items = ItemTable(text, torch.arange(1, 31))
    settings = worker_runs.SETTINGS.model_copy(update={"negatives": 16})
    checkpoint.open({})
    checkpoint.track("model", model)

    def run() -> float:
        return fit_encoder(
            model, worker_runs.histories(), items, settings, lambda share, loss: None, checkpoint=checkpoint
        )

    try:
        return model, checkpoint.stage("encoder", run)
    except TrainingStopped:
        return model, None
