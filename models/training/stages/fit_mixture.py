"""Fits the ranking mixture and its calibration on events that the encoder has not seen.

On its own training events, the encoder's scores are too good. A mixture that is fitted to them would weight them too
much. So the encoder first trains on the earlier events, the mixture is fitted to the later ones, and then the encoder
trains on all events.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from catalog.items.publication import UNKNOWN_MS, age_seconds
from models.data.candidate_lists import sample_candidates
from models.data.events import Events, Floats, Ints, ItemText
from models.data.popularity import PopularityHistory
from models.data.ranking_contexts import RankingContexts, next_item_contexts, random_time_contexts
from models.data.windows import Window, collate, covered_by_state, event_gaps
from models.network.recommender import Recommender
from models.network.sequence_model import ItemTable
from models.training.distributed import process_group
from models.training.resume.checkpoint import Checkpoint
from models.training.schedule import Schedule
from models.training.settings import TrainSettings

_LISTS = 64
_FOLD_BATCH = 256
_CALIBRATION_LISTS = 2048


@dataclass(frozen=True, slots=True)
class ContextFeatures:
    """Features of all n items at a moment.

    Attributes:
        popularity: a history for each of the P half-lives.
        ages: maps moments [b], Unix milliseconds, to seconds since publication [b, n]; -1 if unknown.
    """

    popularity: tuple[PopularityHistory, ...]
    ages: Callable[[Ints], Floats]

    def at(self, time_ms: Ints) -> tuple[Tensor, Tensor]:
        """Popularity [b, n, P] and ages [b, n] at moments [b], Unix milliseconds."""
        popularity = np.stack([history.at(time_ms) for history in self.popularity], -1)
        return torch.from_numpy(popularity), torch.from_numpy(self.ages(time_ms))


def item_ages(item_ids: Sequence[str], items: Sequence[ItemText]) -> Callable[[Ints], Floats]:
    """The function `ContextFeatures.ages` for the items of these ids."""
    published_by_id = {item.item_id: item.published_ms for item in items}
    times = (published_by_id.get(item_id) for item_id in item_ids)
    published = np.array([UNKNOWN_MS if time is None else time for time in times], np.int64)
    return lambda time_ms: age_seconds(published, time_ms[:, None])


def fit_mixture(
    model: Recommender,
    events: Events,
    held_out: NDArray[np.bool_],
    items: ItemTable,
    features: ContextFeatures,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
    *,
    checkpoint: Checkpoint | None = None,
) -> float:
    """Trains the ranker's mixture and calibration in place. Everything else is fixed.

    Half of the lists are in contexts just before a positive held-out event, half at random moments; see
    `models.data.ranking_contexts`. The loss is a softmax over a sampled list. If times are not real, all contexts are
    of the first kind and popularity is zero.

    Args:
        model: a model whose encoder was trained without the held-out events.
        events: events of whole users.
        held_out: which of the events are held out [rows].
        items: inputs of the item tower.
        features: popularity and age of the items.
        settings: settings of the training.
        advance: called after each step with its share and its loss.
        checkpoint: has a safe point after each step.

    Returns:
        The mean loss of the last quarter of the steps.
    """
    rng = np.random.default_rng(settings.seed + 1)
    schedule = Schedule(
        list(model.ranker.mixture.parameters()), settings.mixture_learning_rate, 0.0, settings.mixture_steps
    )
    # Made before anything is drawn, because a resumed loop restores the generator.
    loop = (checkpoint or Checkpoint()).loop(schedule, rng, advance)
    model.eval()
    with torch.no_grad():
        vectors = items.vectors(model)
        kinds = [
            _ListSampler(
                model, vectors, events, next_item_contexts(events, held_out), features, settings, rng
            )
        ]
        if events.timed:
            at_random = random_time_contexts(events, held_out, rng)
            kinds.append(_ListSampler(model, vectors, events, at_random, features, settings, rng))
    kinds = [kind for kind in kinds if kind.contexts]
    if not kinds:
        return 0.0
    for _ in loop.steps(range(settings.mixture_steps), *(kind.rank_rng for kind in kinds)):
        loss = torch.stack([kind.loss() for kind in kinds]).mean()
        loop.step(loss, 1)
    kinds[0].calibrate()
    process_group.broadcast_module(model.ranker)
    return float(np.mean(loop.losses[-max(1, len(loop.losses) // 4) :]))


class _ListSampler:
    """Contexts of one kind with their states, and the loss of lists that are sampled in them."""

    def __init__(
        self,
        model: Recommender,
        vectors: Tensor,
        events: Events,
        contexts: RankingContexts,
        features: ContextFeatures,
        settings: TrainSettings,
        rng: np.random.Generator,
    ) -> None:
        self._ranker, self._vectors, self._events = model.ranker, vectors, events
        self.contexts, self._features = contexts, features
        self._settings, self.rank_rng = settings, process_group.rank_rng(rng)
        self._states, self._users = _folded(model, vectors, events, contexts, settings)

    def loss(self) -> Tensor:
        """This process's part of the mean of -log p of a target over `_LISTS` contexts."""
        lists = math.ceil(_LISTS / process_group.world_size())
        scores, log_weights = self._scored(self.rank_rng.integers(len(self.contexts), size=lists))
        # The target is the first of its list.
        target = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        return functional.cross_entropy(scores + log_weights, target) / process_group.world_size()

    def calibrate(self) -> None:
        """Fits slope and offset of the calibration (Platt 1999) by the weighted binary loss over sampled lists."""
        ranker = self._ranker
        chosen = self.rank_rng.permutation(len(self.contexts))[:_CALIBRATION_LISTS]
        with torch.no_grad():
            parts = [self._scored(chosen[i : i + _LISTS]) for i in range(0, len(chosen), _LISTS)]
            scores = torch.cat([scores.flatten() for scores, _ in parts])
            weights = torch.cat([log_weights.exp().flatten() for _, log_weights in parts])
            is_target = torch.cat([(torch.arange(s.shape[1]) == 0).repeat(len(s)) for s, _ in parts])
            is_target = is_target.to(scores)
        parameters = [ranker.slope, ranker.offset]
        optimizer = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> float:
            optimizer.zero_grad()
            losses = functional.binary_cross_entropy_with_logits(
                ranker.calibrated(scores), is_target, reduction="none"
            )
            loss = (losses * weights).sum() / len(chosen)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.item())

        optimizer.step(closure)  # type: ignore[no-untyped-call]

    def _scored(self, chosen: Ints) -> tuple[Tensor, Tensor]:
        """Samples a list in each of the chosen contexts: scores and log weights [b, m], the target first."""
        contexts, events = self.contexts, self._events
        target_rows = np.array([self.rank_rng.choice(contexts.targets[context]) for context in chosen])
        device = self._vectors.device
        targets = torch.from_numpy(events.items[target_rows]).to(device)
        popularity, ages = (part.to(device) for part in self._features.at(contexts.time_ms[chosen]))
        if not events.timed:
            popularity = torch.zeros_like(popularity)
        logits = self._users[chosen] @ self._vectors.T
        for row, context in enumerate(chosen):
            history = contexts.histories[context]
            consumed = torch.from_numpy(events.items[history][~events.repeats[history]])
            logits[row, consumed.to(device)] = -torch.inf
        middle = popularity[..., self._ranker.mixture.middle]
        candidates, log_weights = sample_candidates(logits, middle, targets, self._settings.ranker_candidates)
        scores = self._ranker.scores(
            self._states[chosen],
            self._users[chosen],
            torch.from_numpy(contexts.idle_seconds[chosen]).to(device)[:, None],
            self._vectors[candidates],
            ages.gather(1, candidates),
            popularity.gather(1, candidates.unsqueeze(-1).expand(-1, -1, popularity.shape[-1])),
        )
        return scores, log_weights


@torch.no_grad()
def _folded(
    model: Recommender, vectors: Tensor, events: Events, contexts: RankingContexts, settings: TrainSettings
) -> tuple[Tensor, Tensor]:
    """User states [contexts, S] and next-item vectors [contexts, d]."""
    gap_seconds = event_gaps(events)
    device = vectors.device
    states = torch.zeros(len(contexts), model.shape.channels, device=device)
    users = torch.zeros(len(contexts), model.shape.width, device=device)
    histories = [
        covered_by_state(rows, settings.history, settings.refold_every) for rows in contexts.histories
    ]
    # Batches by length have less padding.
    order = np.argsort([len(rows) for rows in histories], kind="stable")
    for start in range(0, len(order), _FOLD_BATCH):
        chosen = order[start : start + _FOLD_BATCH]
        windows = [Window(histories[context], 0, histories[context][:0]) for context in chosen]
        batch = collate(events, gap_seconds, windows).to(device)
        states[chosen], users[chosen], _ = model.user.fold(
            vectors[batch.items], batch.actions, batch.gap_seconds, batch.values, batch.mask
        )
    return states, users
