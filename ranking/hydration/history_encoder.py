"""Histories encoded while lists are made: for states that are behind, and for reasons."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache

from catalog.in_memory import InMemoryCatalog
from inference.bundle.bundle import Manifest
from inference.histories import gap_seconds, histories
from inference.model import Floats, Histories, Model, ModelUnavailable, NotFinite, States
from profiles.actions import Actions
from profiles.profile import Entry
from ranking import metrics
from ranking.deadline.calls import Calls, call_timeout

_NOBODY = ""
"""Under this id, which no user has, the encoded empty history is cached: it is the same for everybody."""

Key = tuple[str, int]
"""User id and model version."""


class UserHistory(NamedTuple):
    """The entries of one user that a model state covers, oldest first (`profiles.folding.history.model_history`)."""

    user_id: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedHistory:
    """What the model makes of a whole history.

    entries: those that were folded, oldest first.
    states: one row.
    missing: items that had no vector then; the states lack them.
    """

    entries: tuple[Entry, ...]
    states: States
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """What the newest events of a history add to the user vector.

    entries: those events, oldest first, and before them the one that their first gap is counted from.
    items, vectors: how much each item that the user spoke for adds by these events, float32 [p, d].
    missing: items that had no vector then; what they add is not known.
    """

    entries: tuple[Entry, ...]
    items: tuple[str, ...]
    vectors: Floats
    missing: tuple[str, ...]


class HistoryEncoder:
    """Encodes histories with the model's fold, and caches the last result of each user and version.

    A cached result is good for exactly the entries that it was made of, whatever the profile's revision: impressions
    do not spoil it, and a store that lost a write and counted on does not confuse it. It is spoiled when an item that
    it lacked has got its vector.

    States are of whole histories. Contributions are of the newest `reasons_events` events, and to know them it is
    enough to fold those: an event enters the model's state by what it is and by the gap before it, and is then decayed
    by the events after it, whatever came before; the user vector is linear in the state. Such a partial fold has the
    contributions that the whole one has, and no states that could be used.
    """

    def __init__(
        self,
        catalog: InMemoryCatalog,
        model: Model,
        calls: Calls,
        actions: Actions,
        *,
        cache_size: int,
        reasons_events: int,
    ) -> None:
        """Args:
        cache_size: users and versions whose last result is cached.
        reasons_events: how many of the newest events contributions are of.
        """
        self._catalog = catalog
        self._model = model
        self._calls = calls
        self._actions = actions
        self._newest = reasons_events
        self._encoded: LRUCache[Key, EncodedHistory] = LRUCache(cache_size)
        self._contributions: LRUCache[Key, Contributions] = LRUCache(cache_size)

    def cached(self, user: UserHistory, version: int) -> EncodedHistory | None:
        """The encoded history, if exactly these entries are cached and lack nothing that could be had now."""
        encoded = self._encoded.get(_key(user, version))
        if encoded is None or encoded.entries != user.entries or self._found(version, encoded.missing):
            return None
        metrics.HISTORIES.labels("cache").inc()
        return encoded

    def cached_contributions(self, user: UserHistory, version: int) -> Contributions | None:
        """The contributions of the newest of these entries, if they are cached; else as `cached`."""
        found = self._contributions.get(_key(user, version))
        if found is None or found.entries != user.entries[-self._newest - 1 :]:
            return None
        if self._found(version, found.missing):
            return None
        metrics.HISTORIES.labels("cache").inc()
        return found

    def earlier(self, user_id: str, version: int, history: Sequence[Entry]) -> EncodedHistory | None:
        """The last encoded history of this user, whatever happened since: for when the model does not answer.

        Only if its newest event is still in the history. After an erasure it is not: what was erased must not go on
        steering lists.
        """
        encoded = self._encoded.get((user_id, version))
        return encoded if encoded is not None and encoded.entries[-1] in history else None

    def begin(
        self, manifest: Manifest, users: Sequence[UserHistory], seconds: float
    ) -> "asyncio.Task[list[EncodedHistory | None]]":
        """Starts to encode whole histories, all in one call; the results are cached when they come.

        Args:
            manifest: of the version that encodes.
            users: the histories; an empty one has the state of a user of whom nothing is known.
            seconds: the call's budget.

        Returns:
            The task. It returns one result for each user, None where the model's numbers for this user alone are not
            finite, and raises ModelUnavailable.
        """
        return self._calls.start(self._encode(manifest, users, seconds))

    def begin_contributions(
        self, manifest: Manifest, users: Sequence[UserHistory], seconds: float
    ) -> "asyncio.Task[list[Contributions | None]]":
        """Starts to encode the newest entries of each history, of which there is at least one; else as `begin`."""
        return self._calls.start(self._contribute(manifest, users, seconds))

    async def _encode(
        self, manifest: Manifest, users: Sequence[UserHistory], seconds: float
    ) -> list[EncodedHistory | None]:
        answers = await self._fold(manifest, users, [0] * len(users), seconds)
        return [None if answer is None else answer[0] for answer in answers]

    async def _contribute(
        self, manifest: Manifest, users: Sequence[UserHistory], seconds: float
    ) -> list[Contributions | None]:
        starts = [max(0, len(user.entries) - self._newest) for user in users]
        answers = await self._fold(manifest, users, starts, seconds)
        return [None if answer is None else answer[1] for answer in answers]

    async def _fold(
        self, manifest: Manifest, users: Sequence[UserHistory], starts: Sequence[int], seconds: float
    ) -> list[tuple[EncodedHistory | None, Contributions | None] | None]:
        """Folds each user's entries from their start on, and caches what comes of it: contributions of the newest
        entries, if there are any, and the states of a history that is whole. None for a user whose numbers are not
        finite."""
        folded = [user.entries[start:] for user, start in zip(users, starts, strict=True)]
        version = manifest.version
        lacking: set[str] = set()

        def vector(item_id: str) -> Floats | None:
            found = self._catalog.vector(version, item_id)
            if found is None:
                lacking.add(item_id)
            return found

        inputs, _ = histories(folded, vector, manifest)
        for row, (user, start) in enumerate(zip(users, starts, strict=True)):
            if start:
                # The first one is not the user's first: its gap is part of what it contributes.
                inputs.gap_seconds[row, 0] = gap_seconds(user.entries[start - 1], user.entries[start])
        rows, states, contributions = await self._asked(version, inputs, seconds)
        longest = inputs.mask.shape[1]
        if contributions.shape != (len(rows), longest, manifest.width):
            shape = contributions.shape
            raise ModelUnavailable(
                f"the fold of {len(rows)} histories of {longest} events has the shape {shape}"
            )
        metrics.HISTORIES.labels("model").inc(len(rows))
        answers: list[tuple[EncodedHistory | None, Contributions | None] | None] = [None] * len(users)
        for index, row in enumerate(rows):
            user, entries = users[row], folded[row]
            missing = (
                tuple(dict.fromkeys(e.item_id for e in entries if e.item_id in lacking)) if lacking else ()
            )
            encoded = found = None
            if not starts[row]:
                encoded = EncodedHistory(entries, _row(states, index), missing)
                self._encoded[_key(user, version)] = encoded
            if entries:
                found = self._summed(user.entries, contributions[index, : len(entries)], missing)
                self._contributions[_key(user, version)] = found
            answers[row] = encoded, found
        return answers

    async def _asked(
        self, version: int, inputs: Histories, seconds: float
    ) -> tuple[Sequence[int], States, Floats]:
        """The rows of which the model has finite numbers, and their states and contributions."""
        rows = range(len(inputs.mask))
        try:
            answer = await self._model.fold(version, inputs, timeout=call_timeout(seconds))
        except NotFinite as error:
            # One poisoned history does not cost the rest of its batch their states.
            rest = [row for row in rows if row not in set(error.rows)]
            if not rest:
                raise
            some = Histories(
                inputs.item_vectors[rest],
                inputs.actions[rest],
                inputs.gap_seconds[rest],
                inputs.values[rest],
                inputs.mask[rest],
            )
            answer = await self._model.fold(version, some, timeout=call_timeout(seconds))
            return rest, answer.states, answer.contributions
        return rows, answer.states, answer.contributions

    def _summed(
        self, entries: tuple[Entry, ...], contributions: Floats, missing: tuple[str, ...]
    ) -> Contributions:
        """The contributions of the newest entries, summed by the item that they speak for."""
        newest = entries[-self._newest :]
        contributions = contributions[-len(newest) :]
        positions: dict[str, int] = {}
        of: list[int] = []
        speaking: list[int] = []
        for rank, entry in enumerate(newest):
            action = self._actions.get(entry.action)
            if action is not None and action.is_positive(entry.value):
                of.append(positions.setdefault(entry.item_id, len(positions)))
                speaking.append(rank)
        sums = np.zeros((len(positions), contributions.shape[1]), np.float32)
        np.add.at(sums, of, contributions[speaking])
        named = {entry.item_id for entry in newest} if missing else frozenset[str]()
        lacking = tuple(item_id for item_id in missing if item_id in named)
        return Contributions(entries[-self._newest - 1 :], tuple(positions), sums, lacking)

    def _found(self, version: int, missing: tuple[str, ...]) -> bool:
        """Whether one of these has got its vector."""
        return any(self._catalog.vector(version, item_id) is not None for item_id in missing)


def _row(states: States, index: int) -> States:
    """The states of one user: a copy where there are others, which the cache must not keep alive."""
    if len(states.state) == 1:
        return states
    return States(states.state[index : index + 1].copy(), states.user_vector[index : index + 1].copy())


def _key(user: UserHistory, version: int) -> Key:
    return user.user_id if user.entries else _NOBODY, version
