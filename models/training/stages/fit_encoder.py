"""First stage: item head and user encoder learn to foretell each user's events to come."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data.events import Events, Ints
from models.data.training_data import Parts
from models.data.windows import (
    Batch,
    Window,
    batch,
    batches,
    gaps,
    share_of,
    taken_pairs,
    training_windows,
    with_history,
)
from models.network.recommender import Recommender
from models.training.distillation.target import Lesson
from models.training.distributed import process_group as workers
from models.training.resume.checkpoint import Checkpoint
from models.training.schedule import Schedule
from models.training.settings import TrainSettings
from models.training.stages.advantage import Critic, weighed
from models.training.stages.sequence_model import Foretelling, before
from models.training.stages.sequence_model import ItemTable as ItemTable

_NEVER = -1e9
# Past this a loss is that of what was taken, be it weighed against a teacher's.
_SURELY_NEVER = 1e6


def fit_encoder(
    model: Foretelling,
    learned: Parts,
    items: ItemTable,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
    *,
    keep: Checkpoint | None = None,
    windows: Callable[[Events, np.random.Generator], list[Window]] | None = None,
    lesson: Lesson | None = None,
) -> float:
    """Trains in place and returns the last epoch's loss. `advance` is told of each step's share
    of an epoch and its loss. keep: has a safe point behind each step. windows: of a part of the
    events, which it goes through; None: windows in which every event is foretold once. lesson: of
    a teacher, whose distributions are foretold beside the events.

    The loss is a softmax over the items, the inner product as logit, what the user has taken left out: for the user
    vector the very next event is to be found, positive ones weighing `positive_weight`, and a share `advantage` of
    that is the loss of `models.training.stages.advantage` instead; for the taste vector any one of the positive
    events to come.
    Events of one moment come in another order each epoch: theirs is not known.
    """
    rng = np.random.default_rng(settings.seed)
    parameters = model.foretelling_parameters()
    if settings.advantage and isinstance(model, Recommender):
        parameters += model.ranker.pair_parameters()
    schedule = Schedule(
        parameters, settings.learning_rate, settings.weight_decay, settings.epochs, settings.averaged
    )
    loop = (keep or Checkpoint()).loop(schedule, rng, advance)
    for _ in loop.epochs(settings.epochs):
        model.train()
        for events, whole in learned.parts(rng):
            epoch = _Epoch(events, settings, rng, windows, lesson)
            for chosen in loop.steps(epoch.batches, epoch.own):
                loss = epoch.loss(model, items, share_of(chosen))
                loop.step(loss, whole * len(chosen) / epoch.windows)
    schedule.settle()
    # Without a window in which anything is to be foretold there is no step, and no loss.
    return float(np.mean(loop.losses or [0.0]))


class _Epoch:
    """The events in one order, and the batches of windows over them."""

    def __init__(
        self,
        events: Events,
        settings: TrainSettings,
        rng: np.random.Generator,
        windows: Callable[[Events, np.random.Generator], list[Window]] | None = None,
        lesson: Lesson | None = None,
    ) -> None:
        self._events = events.take(np.lexsort((rng.random(len(events)), events.time_ms)))
        self._gaps = gaps(self._events)
        # Drawn from while the batches are gone through: a checkpoint keeps where it stands.
        self.own = workers.own(rng)
        self._later = _Later(self._events, self.own)
        self._critic = Critic(self._events) if settings.advantage else None
        self._settings, self._lesson = settings, lesson
        if windows is not None:
            found = windows(self._events, rng)
        else:
            found = [
                window
                for rows in self._events.by_user()
                for window in training_windows(rows, settings.history, settings.refold_every, rng)
            ]
        if settings.direct:
            # A user without history gets what is popular. Learned here, it would be in everyone's vector.
            found = with_history(found)
        self.windows = len(found)
        self.batches = batches(found, settings.batch, rng)

    def loss(self, model: Foretelling, items: ItemTable, windows: Sequence[Window]) -> Tensor:
        """The batch's loss, a single number."""
        device = items.text.device
        given = batch(self._events, self._gaps, windows).to(device)
        vectors = items.vectors(model)
        state = before(model, vectors, given)
        rows = given.foretold
        later, has_later = (part.to(device) for part in self._later.draw(rows))
        near, taste = (None, None) if self._lesson is None else self._lesson.told(given)
        taken = taken_pairs(self._events, windows, given.rows)
        sample = _Sample(vectors, given, later, taken, self._settings, self._lesson)
        wanted, users = given.items[given.target], model.near(state)
        each = sample.loss(users, wanted, near)
        weight = torch.from_numpy(
            np.where(self._events.positive[rows], self._settings.positive_weight, 1.0).astype(np.float32)
        ).to(device)
        loss = (each * weight).sum() / workers.total(weight.sum())
        if self._critic is not None and isinstance(model, Recommender):
            advantage, errors = self._critic.judge(model.ranker, rows, state, users, vectors[wanted])
            share, count = self._settings.advantage, workers.total(torch.ones_like(each).sum())
            loss = (1 - share) * loss + (share * weighed(each, advantage) + errors).sum() / count
        if self._settings.taste_weight:
            each = sample.loss(model.taste(state), later, taste)
            # An item that is taken twice cannot be foretold the second time.
            counts = has_later & (each < _SURELY_NEVER)
            loss = loss + self._settings.taste_weight * each[counts].sum() / workers.total(
                counts.sum()
            ).clamp(min=1)
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
        lesson: Lesson | None = None,
    ) -> None:
        device = vectors.device
        rows, items = (part.to(device) for part in taken)
        count = len(vectors)
        self._vectors, self._place = vectors, torch.arange(count, device=device)
        self._lesson, self._told = lesson, None if lesson is None else lesson.vectors
        self._correction: Tensor | None = None
        if count > settings.negatives:
            wanted = given.items[given.target]
            present = torch.unique(torch.cat([wanted, later]) if settings.taste_weight else wanted)
            drawn = torch.randint(count, (settings.negatives,), device=device)
            sample = torch.unique(torch.cat([present, drawn]))
            # What is to be found is always in the sample, the others by chance: that is what logQ corrects.
            chance = torch.full((count,), settings.negatives / count, device=device)
            chance[present] = 1.0
            self._vectors = vectors[sample]
            self._told = None if self._told is None else self._told[sample]
            self._correction = torch.log(chance[sample].clamp(max=1.0))
            self._place = torch.full((count,), -1, device=device)
            self._place[sample] = torch.arange(len(sample), device=device)
            items = self._place[items]
            rows, items = rows[items >= 0], items[items >= 0]
        self._taken = rows, items

    def loss(self, users: Tensor, wanted: Tensor, told: Tensor | None = None) -> Tensor:
        """-log p of the wanted items [b], for user vectors [b, d]; mixed with how far all the items' chances are from
        those of a teacher, whose user vectors [b, D] are told."""
        logits = self._logits(users, self._vectors)
        each = functional.cross_entropy(logits, self._place[wanted], reduction="none")
        if self._lesson is None or self._told is None or told is None:
            return each
        return self._lesson.mixed(each, logits, self._logits(told, self._told), self._correction)

    def _logits(self, users: Tensor, vectors: Tensor) -> Tensor:
        logits = users @ vectors.T
        if self._correction is not None:
            logits = logits - self._correction
        # In place: the largest array of a step is not copied.
        return logits.index_put_(self._taken, torch.tensor(_NEVER))


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
