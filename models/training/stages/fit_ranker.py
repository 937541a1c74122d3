"""Third stage: which action an event on an item would be, and with what value."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data.events import Events
from models.data.windows import batch, batches, gaps, serving_windows, share_of
from models.network.recommender import Recommender
from models.training.distributed import process_group as workers
from models.training.resume.checkpoint import Checkpoint
from models.training.schedule import Schedule
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import ItemTable

_WINDOWS = 64
_VALUE = 0.5


def fit_ranker(
    model: Recommender,
    events: Events,
    items: ItemTable,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
    *,
    keep: Checkpoint | None = None,
) -> float:
    """Trains the ranker's network of pairs in place, the rest held fixed, and returns the mean loss of the last
    quarter of the last pass: cross entropy of the action, and a half of the squared error of the value, as a share of
    half its range.
    `advance` is told of each step's share of a pass and its loss. keep: has a safe point behind each step.
    """
    rng = np.random.default_rng(settings.seed + 2)
    ranker = model.ranker
    windows = [
        window
        for rows in events.by_user()
        if len(rows)
        for window in serving_windows(rows, settings.history, settings.refold_every)
    ]
    gap_seconds = gaps(events)
    model.eval()
    with torch.no_grad():
        vectors = items.vectors(model)
    schedule = Schedule(
        ranker.pair_parameters(), settings.learning_rate, settings.weight_decay, settings.ranker_epochs
    )
    loop = (keep or Checkpoint()).loop(schedule, rng, advance)
    for _ in loop.epochs(settings.ranker_epochs):
        for chosen in loop.steps(batches(windows, _WINDOWS, rng)):
            given = batch(events, gap_seconds, share_of(chosen)).to(items.text.device)
            with torch.no_grad():
                states = model.user.scan(
                    vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
                )
                before = functional.pad(states[:, :-1], (0, 0, 1, 0))[given.target]
                users = model.user.vector(before)
            ranker.train()
            action, value = ranker.pair(before, users, vectors[given.items[given.target]].unsqueeze(1))
            loss = _loss(
                action[:, 0],
                value[:, 0],
                given.actions[given.target] - 1,
                given.values[given.target],
                ranker.half_value,
            )
            loop.step(loss, len(chosen) / len(windows))
    model.eval()
    return float(np.mean(loop.losses[-max(1, len(loop.losses) // 4) :]))


def _loss(action: Tensor, value: Tensor, actions: Tensor, values: Tensor, half_range: float) -> Tensor:
    """log probabilities [b, A] and values [b] against what came."""
    valued = values == values
    error = torch.where(valued, (value - torch.nan_to_num(values)) / half_range, 0.0) ** 2
    misses = functional.nll_loss(action, actions, reduction="sum")
    count, known = workers.total(torch.stack([torch.ones_like(valued).sum(), valued.sum()]))
    loss: Tensor = misses / count + _VALUE * error.sum() / known.clamp(min=1)
    return loss
