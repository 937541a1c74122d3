"""Events and items as training reads them: indices instead of ids, in order of time."""

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
    """Events as columns of equal length, in any order.

    `time_ms` is in Unix milliseconds. `values` has NaN for events without a value. A table may also be `TieOrdered`.
    Columns of strings may be `DictionaryEncoded`, so that a hundred million rows never become strings.
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
class DictionaryEncoded(Protocol):
    """A column of strings: codes [n] into `names`, its distinct values. Some names may be in no row."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def codes(self) -> NDArray[np.int32]: ...


@runtime_checkable
class TieOrdered(Protocol):
    """A table that orders its events of equal time.

    Attributes:
        ties: order of events with equal times, smaller first [n].
        timed: whether times are real, so that times of different users can be compared.
    """

    @property
    def ties(self) -> NDArray[np.int32]: ...
    @property
    def timed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Media:
    """Content of an item besides its text.

    Attributes:
        modality: name of the modality, such as `image`.
        content: the content, or a file that holds it.
    """

    modality: str
    content: bytes | Path

    def read(self) -> bytes:
        """The content.

        Raises:
            OSError: the file cannot be read.
        """
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item as the model reads it.

    Attributes:
        item_id: the item.
        text: its text.
        published_ms: when it was published, Unix milliseconds; None: unknown.
        media: its other content.
    """

    item_id: str
    text: str
    published_ms: int | None = None
    media: tuple[Media, ...] = ()


def texts_fingerprint(item_ids: Sequence[str], items: Sequence[ItemText]) -> str:
    """BLAKE2b-128, in hex, of the texts of the items of these ids, in order. An item that `items` lacks has no text."""
    texts = {item.item_id: item.text for item in items}
    digest = hashlib.blake2b(digest_size=16)
    for item_id in item_ids:
        text = texts.get(item_id, "").encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Events:
    """n events in ascending time. Events of equal time are in the order of their table, or else of a hash of user and
    item, so that a file's order does not leak the next item.

    Attributes:
        user_ids: by user index.
        item_ids: by item index; some may have no event.
        action_names: by action index.
        users: indices of users [n].
        items: indices of items [n].
        actions: indices of actions, from 0 [n].
        time_ms: Unix milliseconds [n].
        values: float32 [n], NaN for events without a value.
        positive: whether the event is positive about its item [n].
        repeats: whether its item may be recommended again [n].
        timed: whether times are real. If not, they are positions in each user's sequence.
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
        """The events of these rows."""
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

    def chunks(self, rng: np.random.Generator) -> Iterator[tuple["Events", float]]:
        """All events in one chunk: see `models.data.training_data.Chunks`."""
        yield self, 1.0

    def seen_items(self) -> NDArray[np.bool_]:
        """Which items have events [items]."""
        found = np.zeros(len(self.item_ids), np.bool_)
        found[self.items] = True
        return found

    def by_user(self) -> list[Ints]:
        """For each user, the rows of the user's events, oldest first."""
        order = np.argsort(self.users, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.users, minlength=len(self.user_ids)))[:-1])

    def fingerprint(self) -> str:
        """BLAKE2b-128 of the events, in hex. It does not depend on ids that no event uses."""
        digest = hashlib.blake2b(digest_size=16)
        columns: list[Ints] = []
        for names, column in ((self.user_ids, self.users), (self.item_ids, self.items)):
            # Sorted: the order of the lists depends on ids that no event uses.
            used = sorted(np.unique(column).tolist(), key=names.__getitem__)
            digest.update("\0".join(names[i] for i in used).encode("utf-8", "surrogatepass"))
            compact = np.zeros(len(names), np.int64)
            compact[used] = np.arange(len(used))
            columns.append(compact[column])
        digest.update("\0".join(self.action_names).encode("utf-8", "surrogatepass"))
        for numbers in (*columns, self.actions, self.time_ms):
            digest.update(numbers.tobytes())
        digest.update(self.values.tobytes())
        return digest.hexdigest()


def index_events(tables: Sequence[InteractionTable], items: Sequence[ItemText], actions: Actions) -> Events:
    """Indexes the events of tables. Impressions, undos and actions that are not configured are left out.

    Args:
        tables: each is later than the one before it.
        items: they get the first indices, in their order. Items that only occur in events follow, sorted.
        actions: their order is that of the action indices.

    Raises:
        NothingToLearn: no event is left.
    """
    names = tuple(actions)
    parts = [_usable(table, names) for table in tables]
    if not any(len(part.rows) for part in parts):
        seen = sorted(
            {
                a
                for table in tables
                for a in _dictionary_encoded(table.actions)[0]
                if a not in (IMPRESSION, UNDO)
            }
        )
        raise NothingToLearn(
            f"no event has an action of {', '.join(names)}; seen: {', '.join(seen[:10]) or 'none'}"
        )
    known = list(dict.fromkeys(item.item_id for item in items))
    item_ids = known + sorted({name for part in parts for name in part.item_names} - set(known))
    user_ids = sorted({name for part in parts for name in part.user_names})
    item_index = {name: index for index, name in enumerate(item_ids)}
    user_index = {name: index for index, name in enumerate(user_ids)}
    kinds = [actions[name] for name in names]
    action_column = np.concatenate([part.actions for part in parts])
    values = np.concatenate([part.values for part in parts])
    return Events(
        user_ids=user_ids,
        item_ids=item_ids,
        action_names=names,
        users=np.concatenate([_indices(part.user_names, user_index)[part.users] for part in parts]),
        items=np.concatenate([_indices(part.item_names, item_index)[part.items] for part in parts]),
        actions=action_column,
        time_ms=np.concatenate([part.time_ms for part in parts]),
        values=values.astype(np.float32),
        positive=_positive(action_column, values, names, actions),
        repeats=np.array([kind.repeats for kind in kinds], np.bool_)[action_column],
        timed=all(table.timed for table in tables if isinstance(table, TieOrdered)),
    )


@dataclass(frozen=True, slots=True)
class _UsableEvents:
    """The usable events of a table, in order. users, items: indices into the names beside them."""

    rows: Ints
    user_names: list[str]
    users: Ints
    item_names: list[str]
    items: Ints
    actions: Ints
    time_ms: Ints
    values: NDArray[np.float64]


def _usable(table: InteractionTable, action_names: tuple[str, ...]) -> _UsableEvents:
    names, codes = _dictionary_encoded(table.actions)
    index = {name: action for action, name in enumerate(action_names)}
    kinds = np.array([*(index.get(name, -1) for name in names), -1], np.int64)[codes]
    kept = np.flatnonzero(kinds >= 0)
    time_ms = np.asarray(table.time_ms, np.int64)
    if isinstance(table, TieOrdered):
        ties = np.asarray(table.ties)[kept]
    else:
        pairs = ((table.user_ids[row], table.item_ids[row]) for row in kept.tolist())
        ties = np.fromiter((_hash(*pair) for pair in pairs), np.uint64, len(kept))
    rows = kept[np.lexsort((ties, time_ms[kept]))]
    return _UsableEvents(
        rows,
        *_in_use(table.user_ids, rows),
        *_in_use(table.item_ids, rows),
        kinds[rows],
        time_ms[rows],
        np.asarray(table.values, np.float64)[rows],
    )


def _in_use(column: Sequence[str], rows: Ints) -> tuple[list[str], Ints]:
    """The names that occur in these rows, and the rows' indices into them."""
    names, codes = _dictionary_encoded(column)
    chosen = codes[rows]
    used = np.bincount(chosen, minlength=len(names)) > 0
    return [names[code] for code in np.flatnonzero(used).tolist()], (np.cumsum(used) - 1)[chosen]


def _dictionary_encoded(column: Sequence[str]) -> tuple[Sequence[str], NDArray[np.int32]]:
    if isinstance(column, DictionaryEncoded):
        return column.names, column.codes
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(name, len(index)) for name in column), np.int32, len(column))
    return list(index), codes


def _indices(names: Sequence[str], index: dict[str, int]) -> Ints:
    return np.array([index[name] for name in names], np.int64)


def _positive(
    kinds: Ints, values: NDArray[np.float64], names: tuple[str, ...], actions: Actions
) -> NDArray[np.bool_]:
    found = np.zeros(len(kinds), np.bool_)
    for action, name in enumerate(names):
        rows = np.flatnonzero(kinds == action)
        different, which = np.unique(values[rows], return_inverse=True)
        is_positive = [actions[name].is_positive(None if np.isnan(v) else float(v)) for v in different]
        found[rows] = np.array(is_positive, np.bool_)[which]
    return found


def _hash(user_id: str, item_id: str) -> int:
    key = f"{len(user_id)}:{user_id}{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
