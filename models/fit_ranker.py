"""Second stage: the ranker learns to find the next event among candidates such as serving gives it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.data import Events, Floats, Ints
from models.fit_encoder import ItemTable
from models.lists import lists, part_of_pairs
from models.popularity import PopularityHistory
from models.recommender import Recommender
from models.schedule import Schedule
from models.settings import TrainSettings
from models.windows import Window, batch, gaps, serving_windows, taken_pairs

_LISTS = 64
# A serving's traffic is not the training's: popularity is scaled down by up to this power of two.
_SCALES = 3.0
_CALIBRATION = 0.1
_VALUE = 0.1
_NEVER = -1e9


def fit_ranker(
    model: Recommender,
    events: Events,
    items: ItemTable,
    ages: Callable[[Ints], Floats],
    settings: TrainSettings,
    advance: Callable[[float, float], None],
) -> float:
    """Trains the ranker in place, the rest held fixed, and returns the mean loss of the last quarter.

    `ages(time_ms [b])` gives the age in seconds of all items at these moments [b, n], -1 where unknown. The
    loss of a list (see `models.lists`) is a softmax over it in the logit of the action that came, a small
    binary part that makes each logit's sigmoid a probability, and a squared error of the value.
    `advance` is told of each step's share of a pass and its loss.
    """
    rng = np.random.default_rng(settings.seed + 1)
    windows = [
        window
        for rows in events.by_user()
        if len(rows)
        for window in serving_windows(rows, settings.history, settings.refold_every)
    ]
    model.eval()
    with torch.no_grad():
        vectors = model.item(items.text, items.index)
    fitting = _Fitting(
        model,
        events,
        gaps(events),
        vectors,
        PopularityHistory(events, settings.half_life_days),
        ages,
        settings,
        Schedule(
            list(model.ranker.parameters()),
            settings.ranker_learning_rate,
            settings.weight_decay,
            settings.ranker_epochs,
        ),
        rng,
        _never_positive(events, settings),
    )
    losses: list[float] = []
    for _ in range(settings.ranker_epochs):
        order = rng.permutation(len(windows))
        for start in range(0, len(windows), settings.batch):
            chosen = [windows[i] for i in order[start : start + settings.batch]]
            share = len(chosen) / len(windows)
            losses += fitting.windows(chosen, share)
            advance(share, losses[-1])
    model.eval()
    return float(np.mean(losses[-max(1, len(losses) // 4) :]))


@dataclass(frozen=True, slots=True)
class _Fitting:
    model: Recommender
    events: Events
    gap_seconds: Floats
    vectors: Tensor
    popularity: PopularityHistory
    ages: Callable[[Ints], Floats]
    settings: TrainSettings
    schedule: Schedule
    rng: np.random.Generator
    never_positive: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"

    def windows(self, windows: Sequence[Window], share: float) -> list[float]:
        """Steps over a random part of the windows' events, some lists a step; the losses."""
        states, users, rows, taken = self._foretold(windows)
        chosen = self.rng.permutation(len(rows))[: max(1, round(len(rows) * self.settings.ranker_share))]
        chosen.sort()
        losses = []
        self.model.ranker.train()
        for start in range(0, len(chosen), _LISTS):
            part = chosen[start : start + _LISTS]
            loss = self._loss(states[part], users[part], rows[part], part_of_pairs(taken, part))
            self.schedule.step(loss, share * len(part) / len(chosen))
            losses.append(loss.item())
        return losses

    @torch.no_grad()
    def _foretold(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor, Ints, tuple[Tensor, Tensor]]:
        """States, user vectors and rows of the events to be foretold, and what was taken before each."""
        given = batch(self.events, self.gap_seconds, windows)
        states = self.model.user.scan(
            self.vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
        )
        before = functional.pad(states[:, :-1], (0, 0, 1, 0))[given.target]
        rows = given.rows[given.target.numpy()]
        return before, self.model.user.vector(before), rows, taken_pairs(self.events, windows, given.rows)

    def _loss(self, states: Tensor, users: Tensor, rows: Ints, taken: tuple[Tensor, Tensor]) -> Tensor:
        events = self.events
        near = (users @ self.vectors.T).index_put(taken, torch.tensor(-torch.inf))
        popular = torch.from_numpy(self.popularity.at(events.time_ms[rows]))
        targets = torch.from_numpy(events.items[rows])
        candidates, weight = lists(near, popular, targets, self.settings.ranker_candidates)
        logits, value = self.model.ranker(
            states,
            users,
            self.vectors[candidates],
            torch.from_numpy(self.ages(events.time_ms[rows])).gather(1, candidates),
            popular.gather(1, candidates) * torch.exp2(-_SCALES * torch.rand(len(rows), 1)),
        )
        action = torch.from_numpy(events.actions[rows])
        # An event that does not speak for its item is no example of its action, unless that never does.
        wanted = torch.from_numpy(events.positive[rows] | self.never_positive[events.actions[rows]])
        own = logits.gather(2, action[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
        listed = functional.cross_entropy(
            (own + weight).clamp(min=_NEVER), torch.zeros(len(rows), dtype=torch.long), reduction="none"
        )
        importance = torch.where(wanted, self.settings.positive_weight, 1.0)
        label = torch.zeros_like(logits)
        label[torch.arange(len(rows)), 0, action] = wanted.to(logits.dtype)
        binary = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
        calibration = (binary * weight.exp().unsqueeze(-1)).sum((1, 2)).mean()
        seen = torch.from_numpy(events.values[rows])
        error = (value[:, 0] - torch.where(seen == seen, seen, value[:, 0].detach())) ** 2
        ordering = (listed * importance).sum() / importance.sum()
        loss: Tensor = ordering + _CALIBRATION * calibration + _VALUE * error.mean()
        return loss


def _never_positive(
    events: Events, settings: TrainSettings
) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    kinds = [settings.actions[name] for name in events.action_names]
    return np.array([not kind.positive and kind.positive_from is None for kind in kinds], np.bool_)
