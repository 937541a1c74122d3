"""Columns of strings, dictionary-encoded: a hundred million ids take a few bytes each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes = NDArray[np.int32]
if TYPE_CHECKING:
    Cells = pa.ChunkedArray[Any]
else:
    Cells = pa.ChunkedArray


@dataclass(frozen=True, slots=True, eq=False)
class Column(Sequence[str]):
    """n strings.

    Attributes:
        names: Each distinct value once. A value need not be used.
        codes: int32 [n], indices into `names`. -1 is a missing value, which reads as an empty string.
    """

    names: list[str]
    codes: Codes

    @classmethod
    def of(cls, values: Iterable[str]) -> "Column":
        """The column of these strings."""
        positions: dict[str, int] = {}
        codes = np.fromiter((positions.setdefault(value, len(positions)) for value in values), np.int32)
        return cls(list(positions), codes)

    @classmethod
    def constant(cls, name: str, length: int) -> "Column":
        """A column of `length` equal strings."""
        return cls([name], np.zeros(length, np.int32))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> "Column": ...
    def __getitem__(self, position: int | slice) -> "str | Column":
        if isinstance(position, slice):
            return Column(self.names, self.codes[position])
        code = int(self.codes[position])
        return self.names[code] if code >= 0 else ""

    def __iter__(self) -> Iterator[str]:
        names = [*self.names, ""]  # code -1 reads the last one
        return (names[code] for code in self.codes.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def take(self, rows: NDArray[np.int64]) -> "Column":
        """The values at these indices."""
        return Column(self.names, self.codes[rows])

    def blank(self) -> NDArray[np.bool_]:
        """bool [n]: whether the value is missing or only white space."""
        return np.array([*(not name.strip() for name in self.names), True])[self.codes]

    def renamed(self, names: Mapping[str, str]) -> "Column":
        """The column with values replaced by this mapping. Values that it lacks stay."""
        return _merged([names.get(name, name) for name in self.names], self.codes)


def joined(columns: Sequence[Column]) -> Column:
    """The rows of all columns, one column after the other."""
    names = [name for column in columns for name in column.names]
    starts = np.cumsum([0, *(len(column.names) for column in columns)])
    codes = [np.where(c.codes < 0, -1, c.codes + s) for c, s in zip(columns, starts, strict=False)]
    return _merged(names, np.concatenate(codes).astype(np.int32))


def _merged(names: Sequence[str], codes: Codes) -> Column:
    """Equal names become one."""
    positions: dict[str, int] = {}
    position = np.array([*(positions.setdefault(name, len(positions)) for name in names), -1], np.int32)
    return Column(list(positions), position[codes])


def encode(cells: Cells) -> Column:
    """The column of an Arrow array. Whole numbers become decimal digits, even if they are stored as floats: a Parquet
    id 7.0 is `7`. Null becomes a missing value."""
    names, codes = _dictionary(cells)
    return _merged([_name(value) for value in names], codes)


def _name(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _dictionary(cells: Cells) -> tuple[list[object], Codes]:
    found: Any = (
        cells.unify_dictionaries() if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    )
    if not found.num_chunks:
        return [], np.zeros(0, np.int32)
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in found.chunks]
    return found.chunk(0).dictionary.to_pylist(), np.concatenate(codes).astype(np.int32, copy=False)


def numbers(cells: Cells, parse: Callable[[str], float] | None = None) -> NDArray[np.float64]:
    """float64 [n]; NaN where a cell is not a finite number. `parse` reads strings instead of `float`."""
    kind: pa.DataType = cells.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        milliseconds: Any = pc.cast(cells, pa.timestamp("ms"), safe=False)
        cells = pc.cast(milliseconds, pa.int64())
    read = _cast(cells) if not pa.types.is_dictionary(kind) else None
    if read is None:
        values, codes = _dictionary(cells)
        # Each distinct string is parsed once. The last entry is for code -1.
        read = np.array([*(_number(value, parse or float) for value in values), np.nan])[codes]
    read[np.isinf(read)] = np.nan
    return read


def _cast(cells: Cells) -> NDArray[np.float64] | None:
    """Casts the whole column at once; None if a cell is not a number."""
    try:
        floats: Any = pc.cast(cells, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return np.array(pc.fill_null(floats, float("nan")).to_numpy(), dtype=np.float64)


def _number(value: object, parse: Callable[[str], float]) -> float:
    try:
        return parse(str(value))
    except ValueError:
        return float("nan")
