"""Events and items as training takes them: indices instead of ids, one sequence a user."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import NothingToLearn
from profiles.actions import IMPRESSION, UNDO, Actions

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class InteractionTable(Protocol):
    """Events as columns of one length, in any order. time_ms: Unix milliseconds. values: NaN for none."""

    @property
    def user_ids(self) -> Sequence[str]: ...
    @property
    def item_ids(self) -> Sequence[str]: ...
    @property
    def actions(self) -> Sequence[str]: ...
    @property
    def time_ms(self) -> Ints: ...
    @property
    def values(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item as the model knows it: what is embedded, and when it was published (None: unknown)."""

    item_id: str
    text: str
    published_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """n events in ascending time; ties by a hash of user and item: no file's order tells the next item.

    users, items, actions: indices from 0 into the lists beside them. positive: whether the event speaks for
    its item. repeats: whether its item may be recommended again. values: float32, NaN for none.
    """

    user_ids: list[str]
    item_ids: list[str]
    action_names: tuple[str, ...]
    users: Ints
    items: Ints
    actions: Ints
    time_ms: Ints
    values: Floats
    positive: NDArray[np.bool_]
    repeats: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Ints) -> "Events":
        """The events at these indices."""
        return Events(
            self.user_ids,
            self.item_ids,
            self.action_names,
            self.users[rows],
            self.items[rows],
            self.actions[rows],
            self.time_ms[rows],
            self.values[rows],
            self.positive[rows],
            self.repeats[rows],
        )

    def by_user(self) -> list[Ints]:
        """For each user, the indices of its events in time order."""
        order = np.argsort(self.users, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.users, minlength=len(self.user_ids)))[:-1])

    def fingerprint(self) -> str:
        """BLAKE2b-128 of the events, in hex: equal data, equal fingerprint."""
        digest = hashlib.blake2b(digest_size=16)
        for names in (self.user_ids, self.item_ids, self.action_names):
            digest.update("\0".join(names).encode("utf-8", "surrogatepass"))
        for column in (self.users, self.items, self.actions, self.time_ms, self.values):
            digest.update(column.tobytes())
        return digest.hexdigest()


def events(tables: Sequence[InteractionTable], items: Sequence[ItemText], actions: Actions) -> Events:
    """Indexes tables, each of which is later than the one before it and stays so. Items come in the order of
    `items`, then those that occur in events alone, sorted; actions in the order of `actions`. Impressions,
    undos and unconfigured actions are left out.

    Raises NothingToLearn where no event is left.
    """
    names = tuple(actions)
    places = {name: place for place, name in enumerate(names)}
    user_column: list[str] = []
    item_column: list[str] = []
    columns: list[tuple[Ints, Ints, Ints, NDArray[np.float64]]] = []
    for number, table in enumerate(tables):
        kept = np.array([i for i, action in enumerate(table.actions) if action in places], np.int64)
        user_column += [table.user_ids[i] for i in kept]
        item_column += [table.item_ids[i] for i in kept]
        columns.append(
            (
                np.full(len(kept), number, np.int64),
                np.array([places[table.actions[i]] for i in kept], np.int64),
                np.asarray(table.time_ms, np.int64)[kept],
                np.asarray(table.values, np.float64)[kept],
            )
        )
    if not user_column:
        seen = sorted({a for table in tables for a in table.actions if a not in (IMPRESSION, UNDO)})
        raise NothingToLearn(
            f"no event has an action of {', '.join(names)}; seen: {', '.join(seen[:10]) or 'none'}"
        )
    number_column = np.concatenate([c[0] for c in columns])
    action_column = np.concatenate([c[1] for c in columns])
    time_ms = np.concatenate([c[2] for c in columns])
    values = np.concatenate([c[3] for c in columns])
    ties = np.array([_hash(u, i) for u, i in zip(user_column, item_column, strict=True)], np.uint64)
    order = np.lexsort((ties, time_ms, number_column))

    known = list(dict.fromkeys(item.item_id for item in items))
    item_ids = known + sorted(set(item_column) - set(known))
    user_ids = sorted(set(user_column))
    item_index = {name: place for place, name in enumerate(item_ids)}
    user_index = {name: place for place, name in enumerate(user_ids)}
    kinds = [actions[name] for name in names]
    positive = [
        kinds[a].speaks_for(None if np.isnan(v) else float(v))
        for a, v in zip(action_column, values, strict=True)
    ]
    return Events(
        user_ids,
        item_ids,
        names,
        np.array([user_index[u] for u in user_column], np.int64)[order],
        np.array([item_index[i] for i in item_column], np.int64)[order],
        action_column[order],
        time_ms[order],
        values.astype(np.float32)[order],
        np.array(positive, np.bool_)[order],
        np.array([k.repeats for k in kinds], np.bool_)[action_column][order],
    )


def _hash(user_id: str, item_id: str) -> int:
    key = f"{len(user_id)}:{user_id}{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
