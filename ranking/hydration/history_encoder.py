"""Histories folded while a list is made: for states that are behind, and for reasons."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from catalog.in_memory import InMemoryCatalog
from inference.bundle.bundle import Manifest
from inference.histories import gap_seconds, histories
from inference.model import Floats, Model, ModelUnavailable, States
from inference.model import Folds as Answer
from profiles.actions import Actions
from profiles.profile import Entry
from ranking import metrics
from ranking.deadline.calls import Calls, own_timeout

T = TypeVar("T")

NOBODY = ""
"""Under this name, which no user has, the fold of the empty history is kept: it is everybody's."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A folded history.

    entries: what was folded, oldest first. states: one row.
    missing: items that had no vector then; the states lack them.
    """

    entries: tuple[Entry, ...]
    states: States
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What the newest events of a history add to the user vector.

    entries: those events, oldest first, and before them the one that their first gap is counted from.
    items, contributions [p, d]: how much each item that the user spoke for adds by these events.
    missing: items that had no vector then; nothing is known of what they add.
    """

    entries: tuple[Entry, ...]
    items: tuple[str, ...]
    contributions: Floats
    missing: tuple[str, ...]


class Folds:
    """Folds on the model, and remembers the last one of each user and version, a bounded number of them.

    A remembered fold is good for the very entries that it was made of, whatever the revision: impressions
    do not spoil it, and a store that lost a write and counted on does not confuse it. It is spoiled when
    an item that it lacked has got its vector.

    States are of whole histories. Contributions are of the newest `reasons_events` events, and to know them
    it is enough to fold those: an event enters the model's state by what it is and by the gap before it, and
    is then decayed by the events after it, whatever was before; the user vector is linear in the state.
    Such a partial fold has contributions as the whole one has, and no states that could be used as any.
    """

    def __init__(
        self,
        catalog: InMemoryCatalog,
        model: Model,
        calls: Calls,
        actions: Actions,
        *,
        kept: int,
        reasons_events: int,
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._calls = calls
        self._actions = actions
        self._kept = kept
        self._newest = reasons_events
        self._folds: OrderedDict[tuple[str, int], Fold] = OrderedDict()
        self._parts: OrderedDict[tuple[str, int], Parts] = OrderedDict()

    def remembered(self, user_id: str, version: int, entries: tuple[Entry, ...]) -> Fold | None:
        """The fold of these entries, if it is remembered and lacks nothing that could be had now."""
        key = (user_id if entries else NOBODY, version)
        fold = self._folds.get(key)
        if fold is None or fold.entries != entries or self._found(version, fold.missing):
            return None
        self._folds.move_to_end(key)
        metrics.FOLDS.labels("memory").inc()
        return fold

    def remembered_parts(self, user_id: str, version: int, entries: tuple[Entry, ...]) -> Parts | None:
        """The contributions of the newest of these entries, from a fold of either kind; as `remembered`."""
        key = (user_id, version)
        parts = self._parts.get(key)
        if parts is None or parts.entries != entries[-self._newest - 1 :]:
            return None
        if self._found(version, parts.missing):
            return None
        self._parts.move_to_end(key)
        metrics.FOLDS.labels("memory").inc()
        return parts

    def before(self, user_id: str, version: int, history: Sequence[Entry]) -> Fold | None:
        """The last whole fold of this user, whatever has happened since: for when the model does not answer.

        Only if the newest event that it has is in the history still. After an erasure it is not: what was
        erased must not go on steering lists.
        """
        fold = self._folds.get((user_id, version))
        return fold if fold is not None and fold.entries[-1] in history else None

    def begin(
        self, user_id: str, manifest: Manifest, entries: tuple[Entry, ...], seconds: float
    ) -> "asyncio.Task[Fold]":
        """Starts the fold of all these entries (`profiles.folding.history.model_history`) in the calls that were
        given; it is remembered when it comes. The task raises ModelUnavailable."""
        return self._calls.start(self._fold(user_id, manifest, entries, seconds))

    def begin_parts(
        self, user_id: str, manifest: Manifest, entries: tuple[Entry, ...], seconds: float
    ) -> "asyncio.Task[Parts]":
        """Starts the fold of the newest of these entries, of which there is one at least; else as `begin`."""
        return self._calls.start(self._partial(user_id, manifest, entries, seconds))

    async def _fold(
        self, user_id: str, manifest: Manifest, entries: tuple[Entry, ...], seconds: float
    ) -> Fold:
        answer, missing = await self._asked(manifest, entries, 0, seconds)
        fold = Fold(entries, answer.states, missing)
        _remember(self._folds, (user_id if entries else NOBODY, manifest.version), fold, self._kept)
        if entries:
            self._keep_parts(user_id, manifest.version, entries, answer.contributions[0], missing)
        return fold

    async def _partial(
        self, user_id: str, manifest: Manifest, entries: tuple[Entry, ...], seconds: float
    ) -> Parts:
        if len(entries) <= self._newest:  # it is a whole one
            await self._fold(user_id, manifest, entries, seconds)
            return self._parts[user_id, manifest.version]
        answer, missing = await self._asked(manifest, entries, len(entries) - self._newest, seconds)
        return self._keep_parts(user_id, manifest.version, entries, answer.contributions[0], missing)

    async def _asked(
        self, manifest: Manifest, entries: tuple[Entry, ...], start: int, seconds: float
    ) -> tuple[Answer, tuple[str, ...]]:
        """The model's fold of the entries from `start` on, and the items that had no vector."""
        version = manifest.version
        missing: dict[str, None] = {}

        def vector(item_id: str) -> Floats | None:
            found = self._catalog.vector(version, item_id)
            if found is None:
                missing[item_id] = None
            return found

        folded = entries[start:]
        inputs, _ = histories([folded], vector, manifest)
        if start:
            # The first one is not the user's first: its gap is part of what it contributes.
            inputs.gap_seconds[0, 0] = gap_seconds(entries[start - 1], entries[start])
        answer = await self._model.fold(version, inputs, timeout=own_timeout(seconds))
        shape = answer.contributions.shape[1:]
        if shape != (max(1, len(folded)), manifest.width):
            raise ModelUnavailable(f"the fold of {len(folded)} events has contributions {shape}")
        metrics.FOLDS.labels("model").inc()
        return answer, tuple(missing)

    def _keep_parts(
        self,
        user_id: str,
        version: int,
        entries: tuple[Entry, ...],
        contributions: Floats,
        missing: tuple[str, ...],
    ) -> Parts:
        newest = entries[-self._newest :]
        items, sums = self._by_item(newest, contributions[-len(newest) :])
        named = {entry.item_id for entry in newest} if missing else frozenset[str]()
        lacking = tuple(item_id for item_id in missing if item_id in named)
        parts = Parts(entries[-self._newest - 1 :], items, sums, lacking)
        _remember(self._parts, (user_id, version), parts, self._kept)
        return parts

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

    def _found(self, version: int, missing: tuple[str, ...]) -> bool:
        """Whether one of these has got its vector."""
        return any(self._catalog.vector(version, item_id) is not None for item_id in missing)


def _remember(memory: OrderedDict[tuple[str, int], T], key: tuple[str, int], made: T, kept: int) -> None:
    memory[key] = made
    memory.move_to_end(key)
    while len(memory) > kept:
        memory.popitem(last=False)
