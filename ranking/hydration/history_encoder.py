"""Encodes histories while lists are made: for states that are behind, and for reasons."""

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
"""The encoded empty history, which is the same for all users, is cached under this id. No user has it."""

Key = tuple[str, int]
"""User id and model version."""


class UserHistory(NamedTuple):
    """The entries of one user that a model state covers, oldest first (`profiles.folding.history.model_history`)."""

    user_id: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedHistory:
    """A whole history, folded by the model.

    Attributes:
        entries: The folded entries, oldest first.
        states: The state, one row.
        missing: Items that had no vector then, and whose events are therefore not in the state.
    """

    entries: tuple[Entry, ...]
    states: States
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """The contributions of the newest events of a history to the user vector.

    Attributes:
        entries: The events, oldest first, preceded by the one from which their first gap is counted.
        items: The p items with positive events among them.
        vectors: The contribution of each of those items, float32 [p, d].
        missing: Items that had no vector then, and whose contributions are therefore unknown.
    """

    entries: tuple[Entry, ...]
    items: tuple[str, ...]
    vectors: Floats
    missing: tuple[str, ...]


class HistoryEncoder:
    """Encodes histories with the model's fold, and caches the last result of each user and version.

    A cached result is valid for exactly the entries that it was computed from. The profile's revision does not matter,
    so impressions do not invalidate it, and neither does a store that lost a write. It becomes invalid when an item
    that it lacked gets a vector.

    States need the whole history. Contributions are those of the newest `reasons_events` events, and a fold of only
    these events gives them. An event enters the model's state with its own features and the gap before it, and then
    decays with the events after it. Earlier events have no influence on this, and the user vector is linear in the
    state. Such a partial fold has the same contributions as the whole fold, but its states cannot be used.
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
        catalog: The catalogue, for item vectors.
        model: The model.
        calls: Owns the calls to the model.
        actions: The actions, which say what is positive.
        cache_size: Number of pairs of user and version whose last result is cached.
        reasons_events: Number of newest events whose contributions are computed.
        """
        self._catalog = catalog
        self._model = model
        self._calls = calls
        self._actions = actions
        self._newest = reasons_events
        self._encoded: LRUCache[Key, EncodedHistory] = LRUCache(cache_size)
        self._contributions: LRUCache[Key, Contributions] = LRUCache(cache_size)

    def cached(self, user: UserHistory, version: int) -> EncodedHistory | None:
        """The encoded history, if exactly these entries are cached and no missing vector has arrived since."""
        encoded = self._encoded.get(_key(user, version))
        if encoded is None or encoded.entries != user.entries or self._found(version, encoded.missing):
            return None
        metrics.HISTORIES.labels("cache").inc()
        return encoded

    def cached_contributions(self, user: UserHistory, version: int) -> Contributions | None:
        """The contributions of the newest of these entries, under the conditions of `cached`."""
        found = self._contributions.get(_key(user, version))
        if found is None or found.entries != user.entries[-self._newest - 1 :]:
            return None
        if self._found(version, found.missing):
            return None
        metrics.HISTORIES.labels("cache").inc()
        return found

    def earlier(self, user_id: str, version: int, history: Sequence[Entry]) -> EncodedHistory | None:
        """The last encoded history of this user, also if newer events exist. It is used when the model does not answer.

        It is returned only if its newest event is still in the history. After an erasure it is not, so erased events
        have no influence on lists.
        """
        encoded = self._encoded.get((user_id, version))
        return encoded if encoded is not None and encoded.entries[-1] in history else None

    def begin(
        self, manifest: Manifest, users: Sequence[UserHistory], seconds: float
    ) -> "asyncio.Task[list[EncodedHistory | None]]":
        """Starts to encode whole histories in one call. The results are cached when they arrive.

        Args:
            manifest: The manifest of the version.
            users: The histories. An empty one gives the state of an unknown user.
            seconds: The time that the call is waited for.

        Returns:
            The task. It returns one result for each user, or None if the model's numbers for this user are not finite.
            It raises ModelUnavailable.
        """
        return self._calls.start(self._encode(manifest, users, seconds))

    def begin_contributions(
        self, manifest: Manifest, users: Sequence[UserHistory], seconds: float
    ) -> "asyncio.Task[list[Contributions | None]]":
        """Starts to encode the newest entries of each history, which must not be empty. See `begin`."""
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
        """Folds the entries of each user from an index on, and caches the results.

        Returns:
            For each user the encoded history if it was folded from index 0, and the contributions if it has entries.
            None if the user's numbers are not finite.
        """
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
                # The first folded entry is not the user's first. Its contribution depends on the gap before it.
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
        """Calls the model. Returns the rows with finite numbers, and their states and contributions."""
        rows = range(len(inputs.mask))
        try:
            answer = await self._model.fold(version, inputs, timeout=call_timeout(seconds))
        except NotFinite as error:
            # One bad history must not cost the rest of its batch their states.
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
        """Sums the contributions of the newest positive entries by item."""
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
        """Whether one of the missing items has a vector now."""
        return any(self._catalog.vector(version, item_id) is not None for item_id in missing)


def _row(states: States, index: int) -> States:
    """The states of one user. They are copied from a larger batch, so that the cache does not keep the batch alive."""
    if len(states.state) == 1:
        return states
    return States(states.state[index : index + 1].copy(), states.user_vector[index : index + 1].copy())


def _key(user: UserHistory, version: int) -> Key:
    return user.user_id if user.entries else _NOBODY, version
