"""First stage: item head and user encoder learn to foretell each user's events to come."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data import Events, Ints
from models.recommender import Recommender
from models.schedule import Schedule
from models.settings import TrainSettings
from models.windows import Batch, Window, batch, gaps, taken_pairs, training_windows

_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class ItemTable:
    """All items as the model takes them: text vectors [n, text width], indices [n] (0: not in training), and vectors
    of other modalities by name [n, their width], zeros where an item has none."""

    text: Tensor
    index: Tensor
    media: dict[str, Tensor] = field(default_factory=dict)

    def vectors(self, model: Recommender) -> Tensor:
        """Item vectors [n, d]."""
        out: Tensor = model.item(self.text, self.index, self.media)
        return out


def fit_encoder(
    model: Recommender,
    events: Events,
    items: ItemTable,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
) -> float:
    """Trains in place and returns the last epoch's loss. `advance` is told of each step's share
    of an epoch and its loss.

    The loss is a softmax over the items, the inner product as logit, what the user has taken left out: for the user
    vector the very next event is to be found, positive ones weighing `positive_weight`; for the taste vector any one
    of the positive events to come. Events of one moment come in another order each epoch: theirs is not known.
    """
    rng = np.random.default_rng(settings.seed)
    parameters = [*model.item.parameters(), *model.user.parameters(), *model.ranker.taste.parameters()]
    schedule = Schedule(parameters, settings.learning_rate, settings.weight_decay, settings.epochs)
    loss_mean = 0.0
    for _ in range(settings.epochs):
        model.train()
        epoch = _Epoch(events, settings, rng)
        losses = []
        for chosen in epoch.batches:
            loss = epoch.loss(model, items, chosen)
            share = len(chosen) / epoch.windows
            schedule.step(loss, share)
            losses.append(loss.item())
            advance(share, losses[-1])
        loss_mean = float(np.mean(losses))
    return loss_mean


class _Epoch:
    """The events in one order, and the batches of windows over them."""

    def __init__(self, events: Events, settings: TrainSettings, rng: np.random.Generator) -> None:
        self._events = events.take(np.lexsort((rng.random(len(events)), events.time_ms)))
        self._gaps = gaps(self._events)
        self._later = _Later(self._events, rng)
        self._settings = settings
        found = [
            window
            for rows in self._events.by_user()
            if len(rows)
            for window in training_windows(rows, settings.history, settings.refold_every, rng)
        ]
        order = rng.permutation(len(found))
        self.windows = len(found)
        self.batches = [
            [found[i] for i in order[start : start + settings.batch]]
            for start in range(0, len(found), settings.batch)
        ]

    def loss(self, model: Recommender, items: ItemTable, windows: list[Window]) -> Tensor:
        """The batch's loss, a single number."""
        given = batch(self._events, self._gaps, windows)
        vectors = items.vectors(model)
        states = model.user.scan(
            vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
        )
        # Each event is foretold from the state before it.
        before = model.user.dropout(functional.pad(states[:, :-1], (0, 0, 1, 0))[given.target])
        rows = given.rows[given.target.numpy()]
        later, has_later = self._later.draw(rows)
        sample = _Sample(
            vectors, given, later, taken_pairs(self._events, windows, given.rows), self._settings
        )
        each = sample.loss(model.user.vector(before), given.items[given.target])
        weight = torch.from_numpy(
            np.where(self._events.positive[rows], self._settings.positive_weight, 1.0).astype(np.float32)
        )
        loss = (each * weight).sum() / weight.sum()
        if self._settings.taste_weight:
            each = sample.loss(model.ranker.taste(before), later)
            # An item that is taken twice cannot be foretold the second time.
            counts = has_later & (each < -_NEVER / 2)
            loss = loss + self._settings.taste_weight * each[counts].sum() / counts.sum().clamp(min=1)
        return loss


class _Sample:
    """Items that a batch's events are told from: all of them, or those to be found and a uniform sample."""

    def __init__(
        self,
        vectors: Tensor,
        given: Batch,
        later: Tensor,
        taken: tuple[Tensor, Tensor],
        settings: TrainSettings,
    ) -> None:
        rows, items = taken
        count = len(vectors)
        self._vectors, self._place, self._correction = vectors, torch.arange(count), torch.zeros(1)
        if count > settings.negatives:
            wanted = given.items[given.target]
            present = torch.unique(torch.cat([wanted, later]) if settings.taste_weight else wanted)
            sample = torch.unique(torch.cat([present, torch.randint(count, (settings.negatives,))]))
            # What is to be found is always in the sample, the others by chance: that is what logQ corrects.
            chance = torch.full((count,), settings.negatives / count)
            chance[present] = 1.0
            self._vectors = vectors[sample]
            self._correction = torch.log(chance[sample].clamp(max=1.0))
            self._place = torch.full((count,), -1)
            self._place[sample] = torch.arange(len(sample))
            items = self._place[items]
            rows, items = rows[items >= 0], items[items >= 0]
        self._taken = rows, items

    def loss(self, users: Tensor, wanted: Tensor) -> Tensor:
        """-log p of the wanted items [b], for user vectors [b, d]."""
        logits = users @ self._vectors.T - self._correction
        logits = logits.index_put(self._taken, torch.tensor(_NEVER))
        return functional.cross_entropy(logits, self._place[wanted], reduction="none")


class _Later:
    """For each row a random one of the user's positive events from that row on."""

    def __init__(self, events: Events, rng: np.random.Generator) -> None:
        self._rng = rng
        order = np.argsort(events.users, kind="stable")
        positive = events.positive[order]
        self._items = np.append(events.items[order[positive]], 0)
        before: Ints = np.cumsum(positive) - positive
        ends = np.searchsorted(events.users[order], events.users, side="right")
        self._first = np.empty(len(events), np.int64)
        self._first[order] = before
        self._end: Ints = np.append(before, positive.sum())[ends]

    def draw(self, rows: Ints) -> tuple[Tensor, Tensor]:
        """Items [b], and whether there is one [b]."""
        first, count = self._first[rows], self._end[rows] - self._first[rows]
        drawn = first + (self._rng.random(len(rows)) * count).astype(np.int64)
        return torch.from_numpy(self._items[drawn]), torch.from_numpy(count > 0)
