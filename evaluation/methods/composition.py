"""The rows of the product: the list that would have been served, and its retrieval alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from evaluation.baselines.popularity import Popularity
from evaluation.method import EvalQueries
from evaluation.methods.blend import Blend
from evaluation.methods.candidates import CandidateSettings, candidates, last_liked
from evaluation.methods.served_model import Lists, ServedModel, nothing_of
from evaluation.protocols.split import Split
from evaluation.protocols.visible import visible_events
from inference.model import Histories
from models.data.events import Floats, Ints, ItemText
from models.data.windows import covered_by_state, event_gaps
from profiles.actions import Action, default_actions

Mask = NDArray[np.bool_]

_RANKED_AT_ONCE = 16
_LIST_PLACES = 20


class CompositionSettings(BaseModel):
    """How lists are composed; as the surface `evaluation` and the profiles have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: CandidateSettings = Field(default_factory=CandidateSettings)
    rating_weight: float = Field(
        0, ge=0, description="What a rated action's predicted value adds to the score"
    )
    actions: dict[str, Action] = Field(
        default_factory=default_actions, description="Actions by name, with the surface's weights"
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a batch of queries comes to: states [b, S], user vectors [b, d], nearness and popularities [b, n] and
    [b, n, P], and seconds since the last event [b], -1 where there is none."""

    states: Floats
    users: Floats
    near: Floats
    popularity: Floats
    idle_seconds: Floats


def counted(split: Split) -> Mask:
    """Which events make an item popular [rows]: positive ones that a running product would have been told of."""
    return split.known.positive & visible_events(split)


class Composition:
    """Lists as they are served: retrieved, ranked, ordered by the blend. What is no candidate is not listed.

    What is counted is what a running product would have been told before each ask (see `told`).
    """

    def __init__(
        self,
        split: Split,
        items: Sequence[ItemText],
        model: ServedModel,
        settings: CompositionSettings,
        name: str = "recstream",
    ) -> None:
        self.name = name
        self._known, self._model, self._settings = split.known, model, settings
        self._gaps = event_gaps(split.known)
        published = {item.item_id: item.published_ms or 0 for item in items}
        self._published = np.array([published.get(i, 0) for i in split.known.item_ids], np.int64)
        self._blend = Blend(model.actions, settings.actions, settings.rating_weight)
        index = {action: place for place, action in enumerate(model.actions, start=1)}
        self._actions = np.array([index.get(action, 0) for action in split.known.action_names], np.int64)
        liked = counted(split)
        # Without times nothing is later than anything: events ever are all that popularity can mean.
        self._popularity = [
            Popularity(split.known, liked, days if split.known.timed else None)
            for days in model.half_lives_days
        ]

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        asked = self._asked(queries)
        chosen = self._candidates(queries, asked)
        found = np.full(chosen.shape, -np.inf, np.float32)
        # Lists of about the same length together: what is short is padded.
        order = np.argsort(chosen.sum(1), kind="stable")
        for start in range(0, len(order), _RANKED_AT_ONCE):
            positions = order[start : start + _RANKED_AT_ONCE]
            self._rank(queries, asked, chosen, positions, found)
        return found

    def nearest(self, queries: EvalQueries) -> Floats:
        """[b, items]: nearness to the user vector; lasting popularity where there is no history to be near to."""
        asked = self._asked(queries)
        return np.where(asked.idle_seconds[:, None] >= 0, asked.near, self._lasting(asked))

    def _asked(self, queries: EvalQueries) -> _Asked:
        histories = [
            covered_by_state(rows, self._model.history, self._model.refold_every) for rows in queries.before
        ]
        states, users = self._model.fold(self._histories(histories))
        times = self._known.time_ms
        idle = [
            max(0, now - int(times[rows[-1]])) / 1000 if len(rows) else -1.0
            for rows, now in zip(histories, queries.time_ms.tolist(), strict=True)
        ]
        popularity = np.stack([each.scores(queries) for each in self._popularity], -1)
        near: Floats = users @ self._model.vectors.T
        return _Asked(states, users, near, popularity, np.array(idle, np.float32))

    def _lasting(self, asked: _Asked) -> Floats:
        lasting: Floats = asked.popularity[..., len(self._popularity) // 2]
        return lasting

    def _candidates(self, queries: EvalQueries, asked: _Asked) -> Mask:
        known, settings = self._known, self._settings.candidates
        allowed = np.ones(asked.near.shape, np.bool_)
        for place, before in enumerate(queries.before):
            allowed[place, known.items[before[~known.repeats[before]]]] = False
        kept = self._model.history + self._model.refold_every
        seeds = [last_liked(known, before[-kept:], settings.similar_seeds) for before in queries.before]
        return candidates(
            asked.near, self._lasting(asked), seeds, asked.idle_seconds >= 0, allowed, self._model.vectors,
            settings, positions=_LIST_PLACES,
        )  # fmt: skip

    def _rank(
        self, queries: EvalQueries, asked: _Asked, chosen: Mask, positions: Ints, found: Floats
    ) -> None:
        """Puts scores of the candidates of these lists into `found`."""
        rows, items = np.nonzero(chosen[positions])
        if not len(rows):
            return
        counts = np.bincount(rows, minlength=len(positions))
        column = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        padded = np.zeros((len(positions), counts.max()), np.int64)
        padded[rows, column] = items
        published = self._published[padded]
        seconds = np.maximum(queries.time_ms[positions][:, None] - published, 0) / 1000
        popularity = asked.popularity[positions[:, None], padded]
        lists = Lists(
            asked.idle_seconds[positions][:, None],
            self._model.vectors[padded],
            np.where(published > 0, seconds, -1).astype(np.float32),
            popularity if self._known.timed else np.zeros_like(popularity),
        )
        probabilities, values = self._model.rank(asked.states[positions], asked.users[positions], lists)
        found[positions[rows], items] = self._blend.scores(probabilities, values)[rows, column]

    def _histories(self, rows: Sequence[Ints]) -> Histories:
        """Right-padded, as serving folds them: the first event of each has no gap."""
        known, length = self._known, max(1, max(map(len, rows), default=1))
        found = nothing_of(self._model.vectors.shape[1], len(rows), length)
        for place, own in enumerate(rows):
            size = len(own)
            found.item_vectors[place, :size] = self._model.vectors[known.items[own]]
            found.actions[place, :size] = self._actions[known.actions[own]]
            found.gap_seconds[place, 1:size] = self._gaps[own[1:]]
            found.values[place, :size] = known.values[own]
            found.mask[place, :size] = 1
        return found


class Retrieval:
    """The composition's retrieval alone: all items by nearness to the user vector."""

    def __init__(self, composition: Composition, name: str = "recstream-retrieval") -> None:
        self.name, self._composition = name, composition

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        return self._composition.nearest(queries)
