"""Interactions: who did what with which item, and when."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from readers.tables.columns import Column

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]

IMPRESSION: Final = "impression"
"""The action of a row whose item was shown, and nothing more."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions as columns of length n, in ascending time.

    Attributes:
        user_ids: The user id of each row.
        item_ids: The item id of each row.
        actions: The action of each row.
        time_ms: int64 [n], Unix milliseconds.
        values: float64 [n]; NaN where a row has no value.
        ties: int32 [n], the order of rows with equal timestamps, smaller first.
        given_ids: Event ids of the file; None if it has none.
        shift_ms: Milliseconds by which all timestamps were shifted since they were read.
        timed: False if timestamps are synthetic, such as positions in a line. Then the order within a user is right,
            but timestamps of two users cannot be compared.
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
        """Builds interactions from plain columns. The rows must be in ascending time."""
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
        """The id of each event. It is stable, so importing an event twice changes nothing."""
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
        """The first `share` of the rows by time (0 to 1), and the others."""
        cut = int(len(self) * share)
        rows = np.arange(len(self))
        return self.take(rows[:cut]), self.take(rows[cut:])

    def shifted(self, milliseconds: int) -> "Interactions":
        """The same events, later by `milliseconds`. Their ids stay."""
        return replace(self, time_ms=self.time_ms + milliseconds, shift_ms=self.shift_ms + milliseconds)


@dataclass(frozen=True, slots=True, eq=False)
class EventIds(Sequence[str]):
    """Event ids: the file's own, else a hash of the whole row, so that equal rows have equal ids."""

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
