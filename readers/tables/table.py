"""A file as columns: CSV, TSV, `::`-separated, Parquet and JSON lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from readers.errors import UnreadableFile
from readers.tables.columns import Cells
from readers.tables.content import suffix
from readers.tables.json_lines import read_json_lines
from readers.tables.text import Layout, plain, read_text

__all__ = ["Layout", "Table", "read_table"]

JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length. Each is read on request, so only the used columns of a Parquet file are in memory.

    Attributes:
        path: The file.
        names: Names of the columns.
        rows: Number of rows.
        first_line: The line number of the first row.
        column: A column by name, as Arrow strings or as its own type.
        cells: A column by name, as Python values.
    """

    path: Path
    names: Sequence[str]
    rows: int
    first_line: int
    column: Callable[[str], Cells]
    cells: Callable[[str], list[object]]

    def find(self, names: Sequence[str]) -> str | None:
        """The first of these names that is a column, ignoring case; None if none is."""
        folded = {column.casefold(): column for column in self.names}
        return next((folded[name.casefold()] for name in names if name.casefold() in folded), None)


def read_table(path: Path, layout: Layout, only: Sequence[str] | None = None) -> Table:
    """Opens a file.

    Args:
        path: Parquet, JSON lines or delimited text, by its extension.
        layout: How to read text.
        only: Columns that may be needed, ignoring case. Others need not be read. None: all.

    Raises:
        UnreadableFile: The file cannot be read. The message names the line if it can.
    """
    if not path.is_file():
        raise UnreadableFile(f"{path}: there is no such file")
    ending = suffix(path)
    try:
        if ending == ".parquet":
            return _parquet(path)
        if ending in JSON_SUFFIXES and layout.separator is None and layout.columns is None:
            wanted = None if only is None else {name.casefold() for name in only}
            return _json(path, layout.encoding, wanted)
        table, names = read_text(path, layout, only)
        return _arrow(path, table, names, 1 if layout.columns else 2)
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFile(f"{path}: {error}") from error


def _parquet(path: Path) -> Table:
    file = pa.parquet.ParquetFile(path)
    schema = file.schema_arrow
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    # Strings keep the file's dictionary encoding: no row group is ever decoded to plain strings.
    file = pa.parquet.ParquetFile(path, read_dictionary=texts, pre_buffer=False)
    by_plain = dict(zip(plain(schema.names), schema.names, strict=True))

    def column(name: str) -> Cells:
        try:
            return file.read(columns=[by_plain[name]], use_threads=False).column(0)
        except (pa.ArrowInvalid, OSError) as error:
            raise UnreadableFile(f"{path}: column {by_plain[name]}: {error}") from error

    return Table(path, list(by_plain), file.metadata.num_rows, 1, column, lambda name: _cells(column(name)))


def _arrow(path: Path, table: pa.Table, names: Sequence[str], first_line: int) -> Table:
    positions = {name: position for position, name in enumerate(plain(table.column_names))}
    return Table(
        path,
        plain(names),
        table.num_rows,
        first_line,
        lambda name: table.column(positions[name]),
        lambda name: _cells(table.column(positions[name])),
    )


def _json(path: Path, encoding: str | None, only: set[str] | None) -> Table:
    columns, names, rows = read_json_lines(path, encoding, only)

    def cells(name: str) -> list[object]:
        return [cell(value) for value in columns[name]]

    def column(name: str) -> Cells:
        texts = [None if value is None else str(value) for value in cells(name)]
        return pa.chunked_array([pa.array(texts, pa.string())])

    return Table(path, names, rows, 1, column, cells)


def _cells(column: Cells) -> list[object]:
    return [cell(value) for value in column.to_pylist()]


def cell(value: object) -> object:
    """A string, bytes, a list, a dictionary or None. Numbers become strings, whole ones without a decimal point. Truth
    values become `true` and `false`, as JSON and CSV write them, so that a filter finds them whatever the format."""
    if value is None or isinstance(value, str | bytes | list | dict):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value != value:
        return None  # not a number
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a Parquet id or time that is stored as a float
    return str(value)
