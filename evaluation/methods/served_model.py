"""The model that a list is composed with, whatever computes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation.methods.item_vectors import item_vectors
from inference.bundle.bundle import Bundle
from inference.bundle.graphs import RANKER, USER_FOLD
from inference.model import Histories
from models.data.events import Floats, ItemText
from models.export.local_graphs import LocalGraphs


@dataclass(frozen=True, slots=True)
class Lists:
    """m candidates for each of b users: vectors [b, m, d], age_seconds [b, m] (-1: unknown), popularity [b, m, P], and
    idle_seconds [b, 1] (-1: no history)."""

    idle_seconds: Floats
    vectors: Floats
    age_seconds: Floats
    popularity: Floats


class ServedModel(Protocol):
    """What the composition asks of a model. actions: by index from 1, 0 is unknown. history, refold_every: which events
    a state covers. vectors: of all items of the split's events [n, d]."""

    @property
    def actions(self) -> tuple[str, ...]: ...
    @property
    def history(self) -> int: ...
    @property
    def refold_every(self) -> int: ...
    @property
    def half_lives_days(self) -> tuple[float, ...]: ...
    @property
    def vectors(self) -> Floats: ...
    def fold(self, histories: Histories) -> tuple[Floats, Floats]:
        """States [b, S] and user vectors [b, d]."""
        ...

    def rank(self, state: Floats, user: Floats, lists: Lists) -> tuple[Floats, Floats]:
        """Probabilities [b, m, A] and predicted values [b, m]."""
        ...


class BundleModel:
    """A bundle's graphs in this process."""

    def __init__(
        self,
        bundle: Bundle,
        item_ids: Sequence[str],
        items: Sequence[ItemText],
        *,
        threads: int = 1,
        advance: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Computes the items' vectors first: `advance` is told how many each time."""
        manifest = bundle.manifest
        self.actions, self.half_lives_days = manifest.actions, manifest.popularity_half_lives_days
        self.history, self.refold_every = manifest.history, manifest.refold_every
        self._graphs = LocalGraphs(bundle, threads)
        self.vectors = item_vectors(bundle, self._graphs, item_ids, items, advance)

    def fold(self, histories: Histories) -> tuple[Floats, Floats]:
        """See `ServedModel`."""
        h = histories
        state, user, _ = self._graphs.run(
            USER_FOLD, h.item_vectors, h.actions, h.gap_seconds, h.values, h.mask
        )
        return state, user

    def rank(self, state: Floats, user: Floats, lists: Lists) -> tuple[Floats, Floats]:
        """See `ServedModel`."""
        probabilities, values = self._graphs.run(
            RANKER, state, user, lists.idle_seconds, lists.vectors, lists.age_seconds, lists.popularity
        )
        return probabilities, values


def nothing_of(width: int, users: int, length: int) -> Histories:
    """Empty histories, to be filled."""
    shape = users, length
    return Histories(
        np.zeros((*shape, width), np.float32),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.full(shape, np.nan, np.float32),
        np.zeros(shape, np.float32),
    )
