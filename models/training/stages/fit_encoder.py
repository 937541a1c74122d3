"""Fits item tower and user encoder, which learn to predict each user's next events."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data.events import Events, Ints
from models.data.training_data import Chunks
from models.data.windows import (
    Batch,
    Window,
    collate,
    consumed_pairs,
    drop_cold_targets,
    event_gaps,
    rank_windows,
    shuffled_batches,
    training_windows,
)
from models.network.recommender import Recommender
from models.network.sequence_model import ItemTable, SequenceModel, states_before_targets
from models.training.distillation import DistillationTarget
from models.training.distributed import process_group
from models.training.resume.checkpoint import Checkpoint
from models.training.schedule import Schedule
from models.training.settings import TrainSettings
from models.training.stages.advantage import Critic, advantage_loss

MakeWindows = Callable[[Events, np.random.Generator], list[Window]]

_MASKED_LOGIT = -1e9
# A loss above this is that of a masked item, even if distillation has weighted it.
_MASKED_LOSS = 1e6


def fit_encoder(
    model: SequenceModel,
    data: Chunks,
    items: ItemTable,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
    *,
    checkpoint: Checkpoint | None = None,
    windows: MakeWindows | None = None,
    distillation: DistillationTarget | None = None,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> float:
    """Trains the model in place.

    The loss is a softmax over the items that the user has not consumed, with inner products as logits. The next-item
    vector predicts the next event; positive ones are weighted by `positive_weight`. A share `advantage` of that loss is
    `models.training.stages.advantage` instead. The long-term vector predicts any later positive event. With more items
    than `negatives`, the softmax is sampled, with the logQ correction (Bengio and Senecal 2008).

    Events of a user with equal times are shuffled in each epoch, because their order is unknown.

    Args:
        model: the served model or a member of the teacher.
        data: the events.
        items: inputs of the item tower.
        settings: settings of the training; `epochs` and `learning_rate` are those of this stage.
        advance: called after each step with its share of an epoch and its loss.
        checkpoint: has a safe point after each step.
        windows: makes the windows of a chunk; None: windows in which each event is a target once.
        distillation: a teacher. Its distributions are predicted in addition to the events.
        after_epoch: called after each epoch with its number, from 1.

    Returns:
        The mean loss of the last epoch; 0 if there is nothing to predict.
    """
    rng = np.random.default_rng(settings.seed)
    parameters = model.sequence_parameters()
    if settings.advantage and isinstance(model, Recommender):
        parameters += model.ranker.action_value_parameters()
    schedule = Schedule(
        parameters, settings.learning_rate, settings.weight_decay, settings.epochs, settings.weight_averaging
    )
    loop = (checkpoint or Checkpoint()).loop(schedule, rng, advance)
    for number in loop.epochs(settings.epochs):
        model.train()
        for events, share in data.chunks(rng):
            epoch = _ChunkEpoch(events, settings, rng, windows, distillation)
            for batch in loop.steps(epoch.batches, epoch.rank_rng):
                own = rank_windows(batch, process_group.rank(), process_group.world_size())
                loop.step(epoch.loss(model, items, own), share * len(batch) / epoch.windows)
        after_epoch(number + 1)
    schedule.apply_average()
    return float(np.mean(loop.losses or [0.0]))


class _ChunkEpoch:
    """One epoch's order of a chunk of events, and the batches of windows over it."""

    def __init__(
        self,
        events: Events,
        settings: TrainSettings,
        rng: np.random.Generator,
        windows: MakeWindows | None = None,
        distillation: DistillationTarget | None = None,
    ) -> None:
        self._events = events.take(np.lexsort((rng.random(len(events)), events.time_ms)))
        self._gaps = event_gaps(self._events)
        # Steps draw from it, so a checkpoint saves its state.
        self.rank_rng = process_group.rank_rng(rng)
        self._later = _LaterPositives(self._events, self.rank_rng)
        self._critic = Critic(self._events) if settings.advantage else None
        self._settings, self._distillation = settings, distillation
        if windows is not None:
            found = windows(self._events, rng)
        else:
            found = [
                window
                for rows in self._events.by_user()
                for window in training_windows(rows, settings.history, settings.refold_every, rng)
            ]
        if settings.item_skip_connection:
            # A user without history gets popular items from the ranker. If the encoder learned popularity here, it
            # would be in every user's vector.
            found = drop_cold_targets(found)
        self.windows = len(found)
        self.batches = shuffled_batches(found, settings.batch, rng)

    def loss(self, model: SequenceModel, items: ItemTable, windows: Sequence[Window]) -> Tensor:
        """This process's part of the loss of a batch, a scalar."""
        device = items.text.device
        batch = collate(self._events, self._gaps, windows).to(device)
        vectors = items.vectors(model)
        states = states_before_targets(model, vectors, batch)
        rows = batch.target_rows
        later, has_later = (part.to(device) for part in self._later.draw(rows))
        teacher_next, teacher_later = (
            (None, None) if self._distillation is None else self._distillation.user_vectors(batch)
        )
        consumed = consumed_pairs(self._events, windows, batch.rows)
        softmax = _Softmax(vectors, batch, later, consumed, self._settings, self._distillation)
        targets, users = batch.items[batch.target], model.next_item_vector(states)
        losses = softmax.losses(users, targets, teacher_next)
        weight = torch.from_numpy(
            np.where(self._events.positive[rows], self._settings.positive_weight, 1.0).astype(np.float32)
        ).to(device)
        loss = (losses * weight).sum() / process_group.all_reduce_sum(weight.sum())
        if self._critic is not None and isinstance(model, Recommender):
            advantages, errors = self._critic.advantages(model.ranker, rows, states, users, vectors[targets])
            share = self._settings.advantage
            count = process_group.all_reduce_sum(torch.ones_like(losses).sum())
            loss = (1 - share) * loss + (share * advantage_loss(losses, advantages) + errors).sum() / count
        if self._settings.long_term_weight:
            losses = softmax.losses(model.long_term_vector(states), later, teacher_later)
            # An item that is consumed twice is masked the second time.
            counts = has_later & (losses < _MASKED_LOSS)
            total = process_group.all_reduce_sum(counts.sum()).clamp(min=1)
            loss = loss + self._settings.long_term_weight * losses[counts].sum() / total
        return loss


class _Softmax:
    """The softmax of a batch: over all items, or over the targets and a uniform sample."""

    def __init__(
        self,
        vectors: Tensor,
        batch: Batch,
        later: Tensor,
        consumed: tuple[Tensor, Tensor],
        settings: TrainSettings,
        distillation: DistillationTarget | None = None,
    ) -> None:
        device = vectors.device
        rows, items = (part.to(device) for part in consumed)
        count = len(vectors)
        self._vectors, self._column = vectors, torch.arange(count, device=device)
        self._distillation = distillation
        self._teacher_vectors = None if distillation is None else distillation.vectors
        self._log_q: Tensor | None = None
        if count > settings.negatives:
            targets = batch.items[batch.target]
            present = torch.unique(torch.cat([targets, later]) if settings.long_term_weight else targets)
            drawn = torch.randint(count, (settings.negatives,), device=device)
            sample = torch.unique(torch.cat([present, drawn]))
            # Targets are always in the sample, other items with probability q. logQ corrects for that.
            q = torch.full((count,), settings.negatives / count, device=device)
            q[present] = 1.0
            self._vectors = vectors[sample]
            self._teacher_vectors = None if self._teacher_vectors is None else self._teacher_vectors[sample]
            self._log_q = torch.log(q[sample].clamp(max=1.0))
            self._column = torch.full((count,), -1, device=device)
            self._column[sample] = torch.arange(len(sample), device=device)
            items = self._column[items]
            rows, items = rows[items >= 0], items[items >= 0]
        self._consumed = rows, items

    def losses(self, users: Tensor, targets: Tensor, teacher_users: Tensor | None = None) -> Tensor:
        """-log p of the targets [b], mixed with the divergence from the teacher if there is one.

        Args:
            users: user vectors [b, d].
            targets: items [b].
            teacher_users: the teacher's user vectors [b, D]; None: no distillation.
        """
        logits = self._logits(users, self._vectors)
        losses = functional.cross_entropy(logits, self._column[targets], reduction="none")
        if self._distillation is None or self._teacher_vectors is None or teacher_users is None:
            return losses
        teacher_logits = self._logits(teacher_users, self._teacher_vectors)
        return self._distillation.mixed_loss(losses, logits, teacher_logits, self._log_q)

    def _logits(self, users: Tensor, vectors: Tensor) -> Tensor:
        logits = users @ vectors.T
        if self._log_q is not None:
            logits = logits - self._log_q
        # In place, so that a step's largest array is not copied.
        return logits.index_put_(self._consumed, torch.tensor(_MASKED_LOGIT))


class _LaterPositives:
    """Draws, for an event, one of its user's positive events from that event on."""

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
        """For events `rows`: items [b], and whether there is one [b]."""
        first, count = self._first[rows], self._end[rows] - self._first[rows]
        drawn = first + (self._rng.random(len(rows)) * count).astype(np.int64)
        return torch.from_numpy(self._items[drawn]), torch.from_numpy(count > 0)
