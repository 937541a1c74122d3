"""Second stage: by what lists are ordered, learned from events that the encoder has not seen.

The encoder knows the events it was trained on too well: weighed on them, its scores would count for more than they
are worth afterwards. So the encoder is trained on the earlier part first, the mixture is fitted to the later part, and
only then the encoder goes on with everything.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.data.candidate_lists import lists
from models.data.events import Events, Floats, Ints, ItemText
from models.data.popularity import PopularityHistory
from models.data.ranking_contexts import Occasions, later_occasions, next_occasions
from models.data.windows import Window, batch, covered, gaps
from models.network.recommender import Recommender
from models.training.distributed import process_group as workers
from models.training.resume.checkpoint import Checkpoint
from models.training.schedule import Schedule
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import ItemTable

_LISTS = 64
_FOLDS = 256
_CALIBRATION_LISTS = 2048


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of all items at b moments (Unix milliseconds): popularity [b, n, P], and seconds since
    publication [b, n], -1 where unknown."""

    popularity: tuple[PopularityHistory, ...]
    ages: Callable[[Ints], Floats]

    def at(self, time_ms: Ints) -> tuple[Tensor, Tensor]:
        popularity = np.stack([history.at(time_ms) for history in self.popularity], -1)
        return torch.from_numpy(popularity), torch.from_numpy(self.ages(time_ms))


def ages_of(item_ids: Sequence[str], items: Sequence[ItemText]) -> Callable[[Ints], Floats]:
    """For `Surroundings`: of the items of these ids, at b moments."""
    published_by_id = {item.item_id: item.published_ms for item in items}
    published = np.array([published_by_id.get(i) or 0 for i in item_ids], np.int64)

    def ages(time_ms: Ints) -> Floats:
        seconds = np.maximum(time_ms[:, None] - published, 0) / 1000
        return np.where(published > 0, seconds, -1.0).astype(np.float32)

    return ages


def fit_mixture(
    model: Recommender,
    events: Events,
    held: NDArray[np.bool_],
    items: ItemTable,
    surroundings: Surroundings,
    settings: TrainSettings,
    advance: Callable[[float, float], None],
    *,
    keep: Checkpoint | None = None,
) -> float:
    """Fits mixture and calibration of the ranker in place, the rest held fixed; returns the mean loss of the last
    quarter of the steps.

    held [rows]: the events that the encoder was not trained on. Half of the lists are those asked for just before
    a positive one of them, half those at moments out of the blue (see `models.data.ranking_contexts`); the loss is a
    softmax over the list. Where times are not real there are only the first, and popularity says nothing.
    """
    rng = np.random.default_rng(settings.seed + 1)
    schedule = Schedule(
        list(model.ranker.mixture.parameters()), settings.mixture_learning_rate, 0.0, settings.mixture_steps
    )
    # Before anything is drawn.
    loop = (keep or Checkpoint()).loop(schedule, rng, advance)
    model.eval()
    with torch.no_grad():
        vectors = items.vectors(model)
        kinds = [_Asked(model, vectors, events, next_occasions(events, held), surroundings, settings, rng)]
        if events.timed:
            later = later_occasions(events, held, rng)
            kinds.append(_Asked(model, vectors, events, later, surroundings, settings, rng))
    kinds = [kind for kind in kinds if kind.count]
    if not kinds:
        return 0.0
    for _ in loop.steps(range(settings.mixture_steps), *(kind.chances for kind in kinds)):
        loss = torch.stack([kind.loss() for kind in kinds]).mean()
        loop.step(loss, 1)
    kinds[0].calibrate()
    workers.agree(model.ranker)
    return float(np.mean(loop.losses[-max(1, len(loop.losses) // 4) :]))


class _Asked:
    """Occasions of one kind with their states, and the loss of lists made at some of them."""

    def __init__(
        self,
        model: Recommender,
        vectors: Tensor,
        events: Events,
        occasions: Occasions,
        surroundings: Surroundings,
        settings: TrainSettings,
        rng: np.random.Generator,
    ) -> None:
        self._ranker, self._vectors, self._events = model.ranker, vectors, events
        self._occasions, self._surroundings = occasions, surroundings
        self._settings, self.chances = settings, workers.own(rng)
        self.count = len(occasions)
        self._states, self._users = _folded(model, vectors, events, occasions, settings)

    def loss(self) -> Tensor:
        """Mean over `_LISTS` occasions of -log p of one item that was to be found: this process's part of it."""
        lists_here = math.ceil(_LISTS / workers.count())
        scores, weights, _ = self._scored(self.chances.integers(self.count, size=lists_here))
        wanted = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        return functional.cross_entropy(scores + weights, wanted) / workers.count()

    def calibrate(self) -> None:
        """Fits slope and offset by Newton steps on the binary loss over lists, each item weighed by how many it
        stands for."""
        ranker = self._ranker
        places = self.chances.permutation(self.count)[:_CALIBRATION_LISTS]
        with torch.no_grad():
            parts = [self._scored(places[i : i + _LISTS])[:2] for i in range(0, len(places), _LISTS)]
            scores = torch.cat([scores.flatten() for scores, _ in parts])
            weights = torch.cat([weights.exp().flatten() for _, weights in parts])
            found = torch.cat([(torch.arange(s.shape[1]) == 0).repeat(len(s)) for s, _ in parts]).to(scores)
        parameters = [ranker.slope, ranker.offset]
        optimizer = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> float:
            optimizer.zero_grad()
            each = functional.binary_cross_entropy_with_logits(
                ranker.calibrated(scores), found, reduction="none"
            )
            loss = (each * weights).sum() / len(places)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.item())

        optimizer.step(closure)  # type: ignore[no-untyped-call]

    def _scored(self, places: Ints) -> tuple[Tensor, Tensor, Tensor]:
        """Scores and log weights [b, m] of lists, the item to be found first, and the lists' items."""
        occasions, events = self._occasions, self._events
        wanted = np.array([self.chances.choice(occasions.liked[place]) for place in places])
        device = self._vectors.device
        targets = torch.from_numpy(events.items[wanted]).to(device)
        popularity, ages = (part.to(device) for part in self._surroundings.at(occasions.time_ms[places]))
        if not events.timed:
            popularity = torch.zeros_like(popularity)
        near = self._users[places] @ self._vectors.T
        for row, place in enumerate(places):
            before = occasions.before[place]
            taken = torch.from_numpy(events.items[before][~events.repeats[before]])
            near[row, taken.to(device)] = -torch.inf
        middle = popularity[..., self._ranker.mixture.middle]
        candidates, weights = lists(near, middle, targets, self._settings.ranker_candidates)
        scores = self._ranker.scores(
            self._states[places],
            self._users[places],
            torch.from_numpy(occasions.idle_seconds[places]).to(device)[:, None],
            self._vectors[candidates],
            ages.gather(1, candidates),
            popularity.gather(1, candidates.unsqueeze(-1).expand(-1, -1, popularity.shape[-1])),
        )
        return scores, weights, candidates


@torch.no_grad()
def _folded(
    model: Recommender, vectors: Tensor, events: Events, occasions: Occasions, settings: TrainSettings
) -> tuple[Tensor, Tensor]:
    """States and user vectors at the occasions."""
    gap_seconds = gaps(events)
    device = vectors.device
    states = torch.zeros(len(occasions), model.shape.channels, device=device)
    users = torch.zeros(len(occasions), model.shape.width, device=device)
    histories = [covered(rows, settings.history, settings.refold_every) for rows in occasions.before]
    # Of about one length together: what is short is padded.
    order = np.argsort([len(rows) for rows in histories], kind="stable")
    for start in range(0, len(order), _FOLDS):
        places = order[start : start + _FOLDS]
        windows = [Window(histories[place], 0, histories[place][:0]) for place in places]
        given = batch(events, gap_seconds, windows).to(device)
        states[places], users[places], _ = model.user.fold(
            vectors[given.items], given.actions, given.gap_seconds, given.values, given.mask
        )
    return states, users
