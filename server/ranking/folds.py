"""Histories folded while a list is made: for states that are behind, and for reasons."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.contents import Contents
from inference.bundle import Manifest
from inference.histories import histories
from inference.model import Floats, Model, ModelUnavailable, States
from profiles.actions import Actions
from profiles.profile import Entry
from server.ranking import metrics
from server.ranking.calls import Calls, own_timeout

NOBODY = ""
"""Under this name, which no user has, the fold of the empty history is kept: it is everybody's."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A folded history.

    entries: what was folded, oldest first. states: one row.
    items, contributions [p, d]: how much each item that the user spoke for adds to the user vector.
    missing: items that had no vector then; the states lack them.
    """

    entries: tuple[Entry, ...]
    states: States
    items: tuple[str, ...]
    contributions: Floats
    missing: tuple[str, ...]


class Folds:
    """Folds on the model, and remembers the last one of each user and version, a bounded number of them.

    A remembered fold is good for the very entries that it was made of, whatever the revision: impressions
    do not spoil it, and a store that lost a write and counted on does not confuse it. It is spoiled when
    an item that it lacked has got its vector.
    """

    def __init__(self, catalog: Contents, model: Model, calls: Calls, actions: Actions, kept: int) -> None:
        self._catalog = catalog
        self._model = model
        self._calls = calls
        self._actions = actions
        self._kept = kept
        self._folds: OrderedDict[tuple[str, int], Fold] = OrderedDict()

    def remembered(self, user_id: str, version: int, entries: tuple[Entry, ...]) -> Fold | None:
        """The fold of these entries, if it is remembered and lacks nothing that could be had now."""
        key = (user_id if entries else NOBODY, version)
        fold = self._folds.get(key)
        if fold is None or fold.entries != entries:
            return None
        if any(self._catalog.vector(version, item_id) is not None for item_id in fold.missing):
            return None
        self._folds.move_to_end(key)
        metrics.FOLDS.labels("memory").inc()
        return fold

    def before(self, user_id: str, version: int, history: Sequence[Entry]) -> Fold | None:
        """The last fold of this user, whatever has happened since: for when the model does not answer.

        Only if the newest event that it has is in the history still. After an erasure it is not: what was
        erased must not go on steering lists.
        """
        fold = self._folds.get((user_id, version))
        return fold if fold is not None and fold.entries[-1] in history else None

    def begin(
        self, user_id: str, manifest: Manifest, entries: tuple[Entry, ...], seconds: float
    ) -> "asyncio.Task[Fold]":
        """Starts the fold of these entries (`profiles.history.model_history`) in the calls that were
        given; it is remembered when it comes. The task raises ModelUnavailable."""
        return self._calls.start(self._fold(user_id, manifest, entries, seconds))

    async def _fold(
        self, user_id: str, manifest: Manifest, entries: tuple[Entry, ...], seconds: float
    ) -> Fold:
        version = manifest.version
        missing: dict[str, None] = {}

        def vector(item_id: str) -> Floats | None:
            found = self._catalog.vector(version, item_id)
            if found is None:
                missing[item_id] = None
            return found

        inputs, _ = histories([entries], vector, manifest)
        answer = await self._model.fold(version, inputs, timeout=own_timeout(seconds))
        contributions = answer.contributions[0]
        if contributions.shape != (max(1, len(entries)), manifest.width):
            raise ModelUnavailable(
                f"the fold of {len(entries)} events has contributions {contributions.shape}"
            )
        items, sums = self._by_item(entries, contributions)
        fold = Fold(entries, answer.states, items, sums, tuple(missing))
        metrics.FOLDS.labels("model").inc()
        self._remember((user_id if entries else NOBODY, version), fold)
        return fold

    def _by_item(self, entries: tuple[Entry, ...], contributions: Floats) -> tuple[tuple[str, ...], Floats]:
        """The contributions of the events that spoke for an item, summed by item."""
        places: dict[str, int] = {}
        of: list[int] = []
        speaking: list[int] = []
        for rank, entry in enumerate(entries):
            action = self._actions.get(entry.action)
            if action is not None and action.speaks_for(entry.value):
                of.append(places.setdefault(entry.item_id, len(places)))
                speaking.append(rank)
        sums = np.zeros((len(places), contributions.shape[1]), np.float32)
        np.add.at(sums, of, contributions[speaking])
        return tuple(places), sums

    def _remember(self, key: tuple[str, int], fold: Fold) -> None:
        self._folds[key] = fold
        self._folds.move_to_end(key)
        while len(self._folds) > self._kept:
            self._folds.popitem(last=False)
