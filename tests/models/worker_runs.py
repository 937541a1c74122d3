"""Functions for tests with several processes. The processes import this module by name."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from local.servers.ports import free_port
from models.data.events import Events
from models.data.windows import Window, rank_windows
from models.network.recommender import Recommender, Shape
from models.network.sequence_model import ItemTable
from models.training.distributed.process_group import (
    all_reduce_sum,
    broadcast_module,
    join_process_group,
    rank_rng,
    seed_rank,
)
from models.training.distributed.torchrun import TorchrunRank
from models.training.settings import TrainSettings
from models.training.stages.fit_action_value import fit_action_value
from models.training.stages.fit_encoder import fit_encoder

ITEMS, USERS = 30, 13
# Batches have 6, 6 and 1 histories, so shares are unequal, and one is empty.
SETTINGS = TrainSettings(
    width=8,
    channels=12,
    hidden=16,
    history=6,
    refold_every=4,
    batch=6,
    epochs=3,
    dropout=0.0,
    id_dropout=0.0,
    advantage=0.3,
    threads=1,
)


def spawned(count: int, run: Callable[..., None], *arguments: Any, seconds: float = 250) -> list[int | None]:
    """Runs `run(rank, *arguments)` in `count` processes that can form a group, and returns their exit codes."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_run, args=(run, TorchrunRank(rank, count, rank, count), arguments))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def _run(run: Callable[..., None], rank: TorchrunRank, arguments: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank.rank), WORLD_SIZE=str(rank.world_size))
    torch.set_num_threads(1)
    run(rank, *arguments)


def histories() -> Events:
    """Histories of unequal length. Only the last event of each is positive, so there is one later positive to draw."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(USERS), rng.integers(2, 20, USERS))
    rng.shuffle(users)
    n = len(users)
    last = np.array([user not in users[row + 1 :] for row, user in enumerate(users)])
    values = np.where(last, 5.0, rng.integers(1, 4, n)).astype(np.float32)
    return Events(
        [f"u{user}" for user in range(USERS)],
        [f"i{item}" for item in range(ITEMS)],
        ("rate",),
        users,
        rng.integers(0, ITEMS, n),
        np.zeros(n, np.int64),
        np.arange(n) * 60_000,
        values,
        last,
        np.zeros(n, np.bool_),
    )


def train_both_stages(rank: TorchrunRank, folder: Path) -> None:
    """Trains both stages. Saves the model and the losses that this process got."""
    with join_process_group(rank, 200):
        _both_stages(rank, folder)


def train_and_draw(rank: TorchrunRank, folder: Path) -> None:
    """Trains and draws in one run, because processes take seconds to start.

    Saves the names of the group's threads, within the group and after it.
    """
    with join_process_group(rank, 200):
        _both_stages(rank, folder)
        _draw(rank, folder)
        meanwhile = _threads_of_the_group()
    torch.save((meanwhile, _threads_of_the_group()), folder / f"threads-{rank.rank}.pt")


def _threads_of_the_group() -> list[str]:
    names = (task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir())
    return sorted(name for name in names if "gloo" in name)


def _both_stages(rank: TorchrunRank, folder: Path) -> None:
    events = histories()
    shape = Shape(
        text_width=5,
        width=8,
        channels=12,
        hidden=16,
        items=ITEMS,
        actions=1,
        value_mean=(3.0,),
        value_scale=(1.0,),
        value_range=(1.0, 5.0),
        popularities=1,
        temperature=0.1,
    )
    losses: list[float] = []
    torch.manual_seed(rank.rank)
    model = Recommender(shape, 0.0, 0.0)
    broadcast_module(model)
    seed_rank(0)
    text = torch.randn(ITEMS, 5, generator=torch.Generator().manual_seed(0))
    items = ItemTable(text, torch.arange(1, ITEMS + 1))
    fit_encoder(model, events, items, SETTINGS, lambda share, loss: losses.append(loss))
    fit_action_value(model, events, items, SETTINGS, lambda share, loss: losses.append(loss))
    torch.save((model.state_dict(), losses), folder / f"{rank.world_size}-{rank.rank}.pt")


def _draw(rank: TorchrunRank, folder: Path) -> None:
    """Saves this process's share of a batch, and its random draws."""
    rng = np.random.default_rng(0)
    alone = rank_rng(rng)
    seed_rank(0)
    none = np.zeros(0, np.int64)
    windows = [Window(np.array([number]), 0, none) for number in rng.permutation(11)]
    mine = [int(window.events[0]) for window in rank_windows(windows, rank.rank, rank.world_size)]
    torch.save((mine, alone.random(), float(torch.rand(()))), folder / f"drawn-{rank.rank}.pt")


def lose_one(rank: TorchrunRank, folder: Path, dies: bool, timeout: float) -> None:
    """The second process ends or hangs while the first waits for it. Both have started before the timeout counts."""
    (folder / f"awake-{rank.rank}").touch()
    while not (folder / f"awake-{1 - rank.rank}").exists():
        time.sleep(0.01)
    with join_process_group(rank, timeout):
        all_reduce_sum(torch.ones(1))
        if rank.rank == 1:
            if dies:
                os._exit(3)
            time.sleep(3 * timeout)
        started = time.monotonic()
        try:
            all_reduce_sum(torch.ones(1))
        finally:
            (folder / "waited").write_text(str(time.monotonic() - started))
