"""Fits the ranker's action and value head: which action an event on an item would be, and with what value."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data.events import Events
from models.data.windows import collate, event_gaps, rank_windows, serving_windows, shuffled_batches
from models.network.recommender import Recommender
from models.network.sequence_model import ItemTable
from models.training.distributed import process_group
from models.training.resume.checkpoint import Checkpoint
from models.training.schedule import Schedule
from models.training.settings import TrainSettings

_BATCH = 64
_VALUE_WEIGHT = 0.5


def fit_action_value(
    model: Recommender,
    events: Events,
    items: ItemTable,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
    *,
    checkpoint: Checkpoint | None = None,
) -> float:
    """Trains the head in place. Everything else is fixed.

    The loss is the cross entropy of the action, plus half the squared error of the value in units of half its range.

    Args:
        model: a model with a trained encoder.
        events: events of whole users.
        items: inputs of the item tower.
        settings: settings of the training.
        advance: called after each step with its share of an epoch and its loss.
        checkpoint: has a safe point after each step.

    Returns:
        The mean loss of the last quarter of the last epoch.
    """
    rng = np.random.default_rng(settings.seed + 2)
    ranker = model.ranker
    windows = [
        window
        for rows in events.by_user()
        if len(rows)
        for window in serving_windows(rows, settings.history, settings.refold_every)
    ]
    gap_seconds = event_gaps(events)
    model.eval()
    with torch.no_grad():
        vectors = items.vectors(model)
    schedule = Schedule(
        ranker.action_value_parameters(),
        settings.learning_rate,
        settings.weight_decay,
        settings.ranker_epochs,
    )
    loop = (checkpoint or Checkpoint()).loop(schedule, rng, advance)
    for _ in loop.epochs(settings.ranker_epochs):
        for chosen in loop.steps(shuffled_batches(windows, _BATCH, rng)):
            own = rank_windows(chosen, process_group.rank(), process_group.world_size())
            batch = collate(events, gap_seconds, own).to(items.text.device)
            with torch.no_grad():
                states = model.states(vectors, batch)
                before = functional.pad(states[:, :-1], (0, 0, 1, 0))[batch.target]
                users = model.next_item_vector(before)
            ranker.train()
            targets = vectors[batch.items[batch.target]].unsqueeze(1)
            actions, values = ranker.actions_and_values(before, users, targets)
            loss = _loss(
                actions[:, 0],
                values[:, 0],
                batch.actions[batch.target] - 1,
                batch.values[batch.target],
                ranker.half_value_range,
            )
            loop.step(loss, len(chosen) / len(windows))
    model.eval()
    return float(np.mean(loop.losses[-max(1, len(loop.losses) // 4) :]))


def _loss(
    log_probabilities: Tensor, predicted: Tensor, actions: Tensor, values: Tensor, half_range: float
) -> Tensor:
    """Compares log_probabilities [b, A] and predicted values [b] with actions [b] and values [b], NaN if missing."""
    rated = values == values
    error = torch.where(rated, (predicted - torch.nan_to_num(values)) / half_range, 0.0) ** 2
    misses = functional.nll_loss(log_probabilities, actions, reduction="sum")
    count, rated_count = process_group.all_reduce_sum(
        torch.stack([torch.ones_like(rated).sum(), rated.sum()])
    )
    loss: Tensor = misses / count + _VALUE_WEIGHT * error.sum() / rated_count.clamp(min=1)
    return loss
