"""Rows by term and by number."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Term = tuple[str, str] | tuple[str]
"""(field, text), or (field,) for rows that have any value in the field."""

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]

# A set costs tens of bytes per entry, a dense array one byte for every row of the catalogue.
_DENSE_SHARE = 32
_DENSE_FROM = 64


class Postings:
    """Rows by term. As a term gets more rows, it is stored as one int, then as a set, then as a dense mask.
    Attributes that are unique to an item therefore stay small, and large categories are fast."""

    def __init__(self) -> None:
        self._rows: dict[Term, int | set[int] | Mask] = {}

    def add(self, term: Term, row: int, rows: int) -> None:
        """Adds the row to the term. `rows` is the size of the catalogue."""
        held = self._rows.get(term)
        if held is None:
            self._rows[term] = row
        elif isinstance(held, int):
            self._rows[term] = {held, row}
        elif isinstance(held, set):
            held.add(row)
            if len(held) > max(_DENSE_FROM, rows // _DENSE_SHARE):
                dense = np.zeros(rows + rows // 2, dtype=np.bool_)
                dense[np.fromiter(held, np.int64, len(held))] = True
                self._rows[term] = dense
        else:
            if row >= len(held):
                held = np.concatenate([held, np.zeros(row + 1 + row // 2 - len(held), dtype=np.bool_)])
                self._rows[term] = held
            held[row] = True

    def discard(self, term: Term, row: int) -> None:
        """Removes the row from the term."""
        held = self._rows.get(term)
        if isinstance(held, int):
            if held == row:
                del self._rows[term]
        elif isinstance(held, set):
            held.discard(row)
            if not held:
                del self._rows[term]
        elif held is not None and row < len(held):
            held[row] = False

    def rows(self, term: Term) -> Rows:
        """A new array of the rows that have the term."""
        held = self._rows.get(term)
        if held is None:
            return np.empty(0, np.int64)
        if isinstance(held, int):
            return np.array([held], np.int64)
        if isinstance(held, set):
            return np.fromiter(held, np.int64, len(held))
        return np.flatnonzero(held)

    def any_of(self, terms: Iterable[Term], rows: int) -> Mask:
        """A new mask [rows] of the rows that have at least one of the terms."""
        mask = np.zeros(rows, dtype=np.bool_)
        for term in terms:
            held = self._rows.get(term)
            if held is None:
                continue
            if isinstance(held, int):
                mask[held] = True
            elif isinstance(held, set):
                mask[np.fromiter(held, np.int64, len(held))] = True
            else:
                size = min(rows, len(held))
                mask[:size] |= held[:size]
        return mask


class Numbers:
    """Numbers by name and row. A row may have several. The first numbers of all rows are kept together, then the second
    ones, and so on: in a dict if few rows have one, in a dense array if many do."""

    def __init__(self) -> None:
        # By name and place among the row's numbers. A row with a place has all places before it.
        self._values: dict[tuple[str, int], dict[int, float] | NDArray[np.float64]] = {}

    def put(self, name: str, row: int, values: Sequence[float], rows: int) -> None:
        """Replaces the row's numbers. `rows` is the size of the catalogue."""
        for place, value in enumerate(values):
            self._put((name, place), row, value, rows)
        place = len(values)
        while (held := self._values.get((name, place))) is not None:
            if isinstance(held, dict):
                held.pop(row, None)
                if not held:
                    del self._values[name, place]
            elif row < len(held):
                held[row] = np.nan
            place += 1

    def between(self, name: str, low: float, high: float, rows: int) -> Mask:
        """A new mask [rows] of the rows that have a number in [low, high]."""
        mask = np.zeros(rows, dtype=np.bool_)
        place = 0
        while (held := self._values.get((name, place))) is not None:
            if isinstance(held, dict):
                values = np.fromiter(held.values(), np.float64, len(held))
                mask[np.fromiter(held, np.int64, len(held))] |= (values >= low) & (values <= high)
            else:
                part = held[:rows]
                mask[: len(part)] |= (part >= low) & (part <= high)
            place += 1
        return mask

    def _put(self, key: tuple[str, int], row: int, value: float, rows: int) -> None:
        held = self._values.setdefault(key, {})
        if isinstance(held, dict):
            held[row] = value
            if len(held) > max(_DENSE_FROM, rows // _DENSE_SHARE):
                dense = np.full(rows + rows // 2, np.nan)
                dense[np.fromiter(held, np.int64, len(held))] = np.fromiter(
                    held.values(), np.float64, len(held)
                )
                self._values[key] = dense
        else:
            if row >= len(held):
                held = np.concatenate([held, np.full(row + 1 + row // 2 - len(held), np.nan)])
                self._values[key] = held
            held[row] = value
