"""First stage: item head and user encoder learn to foretell each user's next event."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data import Events
from models.recommender import Recommender
from models.schedule import Schedule
from models.settings import TrainSettings
from models.windows import batch, gaps, taken_pairs, training_windows

_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class ItemTable:
    """All items as the model takes them: text vectors [n, text width], indices [n] (0: not in training)."""

    text: Tensor
    index: Tensor


def fit_encoder(
    model: Recommender,
    events: Events,
    items: ItemTable,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
) -> float:
    """Trains in place and returns the last epoch's loss. `advance` is told of each step's share
    of an epoch and its loss.

    The loss is a softmax over the items, the inner product with the user vector as logit, what the user has
    taken left out; positive next events weigh `positive_weight`.
    """
    rng = np.random.default_rng(settings.seed)
    gap_seconds = gaps(events)
    histories = [rows for rows in events.by_user() if len(rows)]
    parameters = [*model.item.parameters(), *model.user.parameters()]
    schedule = Schedule(parameters, settings.learning_rate, settings.weight_decay, settings.epochs)
    loss_mean = 0.0
    for _ in range(settings.epochs):
        model.train()
        windows = [
            w
            for rows in histories
            for w in training_windows(rows, settings.history, settings.refold_every, rng)
        ]
        order = rng.permutation(len(windows))
        losses = []
        for start in range(0, len(windows), settings.batch):
            chosen = [windows[i] for i in order[start : start + settings.batch]]
            given = batch(events, gap_seconds, chosen)
            vectors = model.item(items.text, items.index)
            states = model.user.scan(
                vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
            )
            # Each event is foretold from the state before it.
            before = functional.pad(states[:, :-1], (0, 0, 1, 0))[given.target]
            users = model.user.vector(model.user.dropout(before))
            targets = given.items[given.target]
            rows = given.rows[given.target.numpy()]
            logits, places = _logits(
                users, vectors, targets, taken_pairs(events, chosen, given.rows), settings
            )
            weight = torch.from_numpy(
                np.where(events.positive[rows], settings.positive_weight, 1.0).astype(np.float32)
            )
            each = functional.cross_entropy(logits, places, reduction="none")
            loss = (each * weight).sum() / weight.sum()
            schedule.step(loss, len(chosen) / len(windows))
            losses.append(loss.item())
            advance(len(chosen) / len(windows), losses[-1])
        loss_mean = float(np.mean(losses))
    return loss_mean


def _logits(
    users: Tensor,
    vectors: Tensor,
    targets: Tensor,
    taken: tuple[Tensor, Tensor],
    settings: TrainSettings,
) -> tuple[Tensor, Tensor]:
    """Logits over all items, or over the batch's targets and a uniform sample, and each target's place."""
    rows, items = taken
    count = len(vectors)
    if count <= settings.negatives:
        places = targets
        logits = users @ vectors.T
    else:
        present = torch.unique(targets)
        sample = torch.unique(torch.cat([present, torch.randint(count, (settings.negatives,))]))
        place = torch.full((count,), -1)
        place[sample] = torch.arange(len(sample))
        places, items = place[targets], place[items]
        rows, items = rows[items >= 0], items[items >= 0]
        # Targets of the batch are always in the sample, the others by chance: what logQ corrects.
        chance = torch.full((count,), settings.negatives / count)
        chance[present] = 1.0
        logits = users @ vectors[sample].T - torch.log(chance[sample].clamp(max=1.0))
    masked: Tensor = logits.index_put((rows, items), torch.tensor(_NEVER))
    return masked, places
