"""Events and items as training takes them: indices instead of ids, one sequence a user."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.errors import NothingToLearn
from profiles.actions import IMPRESSION, UNDO, Actions

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class InteractionTable(Protocol):
    """Events as columns of one length, in any order. time_ms: Unix milliseconds. values: NaN for none.

    It may be `Tied` too, and its columns `Coded`: a hundred million rows then never become strings.
    """

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


@runtime_checkable
class Coded(Protocol):
    """Strings as codes [n] into their different values, of which some may be in no row."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def codes(self) -> NDArray[np.int32]: ...


@runtime_checkable
class Tied(Protocol):
    """A table that knows the order of its events of one moment: ties [n], smaller first. timed: whether its
    times are real, so that moments of different users can be compared."""

    @property
    def ties(self) -> NDArray[np.int32]: ...
    @property
    def timed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Media:
    """A content of an item beside its text: the modality's name (`image`), and the content or the file that holds
    it, which is read when it is wanted."""

    modality: str
    content: bytes | Path

    def read(self) -> bytes:
        """The content. Raises OSError."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item as the model knows it: what is embedded, and when it was published (None: unknown)."""

    item_id: str
    text: str
    published_ms: int | None = None
    media: tuple[Media, ...] = ()


def texts_fingerprint(item_ids: Sequence[str], items: Sequence[ItemText]) -> str:
    """BLAKE2b-128, in hex, of the texts of the items of these ids, in this order; one that `items` lacks has none."""
    texts = {item.item_id: item.text for item in items}
    digest = hashlib.blake2b(digest_size=16)
    for item_id in item_ids:
        text = texts.get(item_id, "").encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Events:
    """n events in ascending time; those of one moment as their table orders them, else by a hash of user and
    item: no file's order tells the next item.

    users, items, actions: indices from 0 into the lists beside them. positive: whether the event speaks for
    its item. repeats: whether its item may be recommended again. values: float32, NaN for none.
    timed: False where times are places in a line: one point in time for all users means nothing then.
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
    timed: bool = True

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Ints) -> "Events":
        """The events at these indices."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            actions=self.actions[rows],
            time_ms=self.time_ms[rows],
            values=self.values[rows],
            positive=self.positive[rows],
            repeats=self.repeats[rows],
        )

    def parts(self, rng: np.random.Generator) -> Iterator[tuple["Events", float]]:
        """All of them, in one part: see `models.data.training_data.Parts`."""
        yield self, 1.0

    def by_user(self) -> list[Ints]:
        """For each user, the indices of its events in time order."""
        order = np.argsort(self.users, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.users, minlength=len(self.user_ids)))[:-1])

    def fingerprint(self) -> str:
        """BLAKE2b-128 of the events, in hex: equal events, equal fingerprint, whatever else the lists name."""
        digest = hashlib.blake2b(digest_size=16)
        places: list[Ints] = []
        for names, column in ((self.user_ids, self.users), (self.item_ids, self.items)):
            # In an order of their own: the lists' depends on what else they name.
            used = sorted(np.unique(column).tolist(), key=names.__getitem__)
            digest.update("\0".join(names[i] for i in used).encode("utf-8", "surrogatepass"))
            place = np.zeros(len(names), np.int64)
            place[used] = np.arange(len(used))
            places.append(place[column])
        digest.update("\0".join(self.action_names).encode("utf-8", "surrogatepass"))
        for numbers in (*places, self.actions, self.time_ms):
            digest.update(numbers.tobytes())
        digest.update(self.values.tobytes())
        return digest.hexdigest()


def events(tables: Sequence[InteractionTable], items: Sequence[ItemText], actions: Actions) -> Events:
    """Indexes tables, each of which is later than the one before it and stays so. Items come in the order of
    `items`, then those that occur in events alone, sorted; actions in the order of `actions`. Impressions,
    undos and unconfigured actions are left out.

    Raises NothingToLearn where no event is left.
    """
    names = tuple(actions)
    parts = [_used(table, names) for table in tables]
    if not any(len(part.rows) for part in parts):
        seen = sorted(
            {a for table in tables for a in _coded(table.actions)[0] if a not in (IMPRESSION, UNDO)}
        )
        raise NothingToLearn(
            f"no event has an action of {', '.join(names)}; seen: {', '.join(seen[:10]) or 'none'}"
        )
    known = list(dict.fromkeys(item.item_id for item in items))
    item_ids = known + sorted({name for part in parts for name in part.item_names} - set(known))
    user_ids = sorted({name for part in parts for name in part.user_names})
    item_index = {name: place for place, name in enumerate(item_ids)}
    user_index = {name: place for place, name in enumerate(user_ids)}
    kinds = [actions[name] for name in names]
    action_column = np.concatenate([part.actions for part in parts])
    values = np.concatenate([part.values for part in parts])
    return Events(
        user_ids,
        item_ids,
        names,
        np.concatenate([_indices(part.user_names, user_index)[part.users] for part in parts]),
        np.concatenate([_indices(part.item_names, item_index)[part.items] for part in parts]),
        action_column,
        np.concatenate([part.time_ms for part in parts]),
        values.astype(np.float32),
        _positive(action_column, values, names, actions),
        np.array([kind.repeats for kind in kinds], np.bool_)[action_column],
        all(table.timed for table in tables if isinstance(table, Tied)),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What a table brings, in order: indices into the names that are in use, and into the actions."""

    rows: Ints
    user_names: list[str]
    users: Ints
    item_names: list[str]
    items: Ints
    actions: Ints
    time_ms: Ints
    values: NDArray[np.float64]


def _used(table: InteractionTable, action_names: tuple[str, ...]) -> _Part:
    spelled, codes = _coded(table.actions)
    places = {name: place for place, name in enumerate(action_names)}
    kinds = np.array([*(places.get(name, -1) for name in spelled), -1], np.int64)[codes]
    kept = np.flatnonzero(kinds >= 0)
    time_ms = np.asarray(table.time_ms, np.int64)
    if isinstance(table, Tied):
        ties = np.asarray(table.ties)[kept]
    else:
        pairs = ((table.user_ids[row], table.item_ids[row]) for row in kept.tolist())
        ties = np.fromiter((_hash(*pair) for pair in pairs), np.uint64, len(kept))
    rows = kept[np.lexsort((ties, time_ms[kept]))]
    return _Part(
        rows,
        *_in_use(table.user_ids, rows),
        *_in_use(table.item_ids, rows),
        kinds[rows],
        time_ms[rows],
        np.asarray(table.values, np.float64)[rows],
    )


def _in_use(column: Sequence[str], rows: Ints) -> tuple[list[str], Ints]:
    """The names that stand in these rows, no other, and the rows' indices into them."""
    names, codes = _coded(column)
    chosen = codes[rows]
    used = np.bincount(chosen, minlength=len(names)) > 0
    return [names[place] for place in np.flatnonzero(used).tolist()], (np.cumsum(used) - 1)[chosen]


def _coded(column: Sequence[str]) -> tuple[Sequence[str], NDArray[np.int32]]:
    if isinstance(column, Coded):
        return column.names, column.codes
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(name, len(places)) for name in column), np.int32, len(column))
    return list(places), codes


def _indices(names: Sequence[str], index: dict[str, int]) -> Ints:
    return np.array([index[name] for name in names], np.int64)


def _positive(
    kinds: Ints, values: NDArray[np.float64], names: tuple[str, ...], actions: Actions
) -> NDArray[np.bool_]:
    found = np.zeros(len(kinds), np.bool_)
    for place, name in enumerate(names):
        rows = np.flatnonzero(kinds == place)
        different, which = np.unique(values[rows], return_inverse=True)
        speaks = [actions[name].speaks_for(None if np.isnan(v) else float(v)) for v in different]
        found[rows] = np.array(speaks, np.bool_)[which]
    return found


def _hash(user_id: str, item_id: str) -> int:
    key = f"{len(user_id)}:{user_id}{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
