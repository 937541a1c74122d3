"""Interactions: who did what with which item, when."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from readers.tables.columns import Column

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions as columns of length n, in ascending time.

    time_ms: Unix milliseconds. values: NaN where there is none. ties: int32 [n], the order of rows that share
    a moment, smaller first; rows stand in this order when they were read, whatever is done to them later.
    given_ids: event ids that a file brought. shift_ms: how far all times were moved since they were read.
    timed: False where times are made up from positions in a line: the order within a user is right, and a
    moment of one user says nothing about a moment of another.
    """

    user_ids: Column
    item_ids: Column
    actions: Column
    time_ms: Int64s
    values: Float64s
    ties: NDArray[np.int32]
    given_ids: pa.StringArray | None = None
    shift_ms: int = 0
    timed: bool = True

    @classmethod
    def of(
        cls,
        user_ids: Sequence[str],
        item_ids: Sequence[str],
        actions: Sequence[str],
        time_ms: Int64s,
        values: Float64s | None = None,
        event_ids: Sequence[str] | None = None,
    ) -> "Interactions":
        """Of plain columns, whose rows are in ascending time."""
        n = len(user_ids)
        return cls(
            Column.of(user_ids),
            Column.of(item_ids),
            Column.of(actions),
            np.asarray(time_ms, np.int64),
            np.full(n, np.nan) if values is None else np.asarray(values, np.float64),
            np.arange(n, dtype=np.int32),
            pa.array(event_ids, pa.string()) if event_ids is not None else None,
        )

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def users(self) -> NDArray[np.int32]:
        """Indices into `user_ids.names`."""
        return self.user_ids.codes

    @property
    def items(self) -> NDArray[np.int32]:
        """Indices into `item_ids.names`."""
        return self.item_ids.codes

    @property
    def event_ids(self) -> "EventIds":
        """What names each event, so that importing it twice changes nothing."""
        return EventIds(self)

    def take(self, order: Int64s) -> "Interactions":
        """The rows at these indices, in their order."""
        return replace(
            self,
            user_ids=self.user_ids.take(order),
            item_ids=self.item_ids.take(order),
            actions=self.actions.take(order),
            time_ms=self.time_ms[order],
            values=self.values[order],
            ties=self.ties[order],
            given_ids=self.given_ids.take(order) if self.given_ids is not None else None,
        )

    def split(self, share: float) -> tuple["Interactions", "Interactions"]:
        """The first `share` of the rows by time, and the rest."""
        cut = int(len(self) * share)
        rows = np.arange(len(self))
        return self.take(rows[:cut]), self.take(rows[cut:])

    def shifted(self, milliseconds: int) -> "Interactions":
        """The same events, later by so much."""
        return replace(self, time_ms=self.time_ms + milliseconds, shift_ms=self.shift_ms + milliseconds)


@dataclass(frozen=True, slots=True, eq=False)
class EventIds(Sequence[str]):
    """The ids that a file gave, and a hash of the whole row where it gave none: equal rows, equal ids."""

    rows: Interactions

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self._one(row) for row in range(len(self))[position]]
        return self._one(range(len(self))[position])

    def __iter__(self) -> Iterator[str]:
        return (self._one(row) for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return list(self) == list(other)

    def _one(self, row: int) -> str:
        rows = self.rows
        if rows.given_ids is not None and (given := rows.given_ids[row].as_py()):
            return str(given)
        time_ms, value = float(rows.time_ms[row] - rows.shift_ms), float(rows.values[row])
        body = "\0".join(
            (rows.user_ids[row], rows.item_ids[row], rows.actions[row], repr(time_ms), repr(value))
        )
        return hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
