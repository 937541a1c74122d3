"""A file as columns of strings: CSV, TSV, `::`-separated, Parquet and JSON lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from datasets.errors import UnreadableFile

SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".dat": "::"}
JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read a file. Everything is guessed from the name's ending where it is None.

    columns: the names, for a file without a header line.
    """

    separator: str | None = None
    encoding: str = "utf-8"
    columns: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length. A cell is a string, a list of strings (JSON and Parquet lists), or None.

    first_line: the line of the file that the first row stands on.
    """

    columns: dict[str, list[object]]
    rows: int
    first_line: int

    def find(self, names: Sequence[str]) -> str | None:
        """The first column with one of these names, without regard to case."""
        folded = {column.casefold(): column for column in self.columns}
        return next((folded[name.casefold()] for name in names if name.casefold() in folded), None)


def read_table(path: Path, layout: Layout) -> Table:
    """Reads a whole file. Raises UnreadableFile, naming the line where it can."""
    if not path.is_file():
        raise UnreadableFile(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _from_arrow(pa.parquet.read_table(path), first_line=1)
        if suffix in JSON_SUFFIXES and layout.separator is None:
            return _from_json_lines(path, layout.encoding)
        return _from_text(path, layout, layout.separator or SEPARATORS.get(suffix) or ",")
    except pa.ArrowInvalid as error:
        raise UnreadableFile(f"{path}: {error}") from error


def _from_text(path: Path, layout: Layout, separator: str) -> Table:
    text = _decode(path, layout.encoding)
    if len(separator) > 1:
        return _from_long_separator(path, text, separator, layout.columns)
    table = pa.csv.read_csv(
        BytesIO(text.encode()),
        read_options=pa.csv.ReadOptions(column_names=list(layout.columns) if layout.columns else None),
        parse_options=pa.csv.ParseOptions(delimiter=separator, quote_char='"' if separator == "," else False),
        convert_options=pa.csv.ConvertOptions(
            # Ids keep their leading zeros: nothing is a number until a column is known to be one.
            column_types={name: pa.string() for name in _header(text, separator, layout.columns)},
            strings_can_be_null=False,
        ),
    )
    return _from_arrow(table, first_line=1 if layout.columns else 2)


def _header(text: str, separator: str, columns: Sequence[str] | None) -> list[str]:
    if columns:
        return list(columns)
    first = text.split("\n", 1)[0].rstrip("\r")
    return [name.strip('"') for name in first.split(separator)]


def _from_long_separator(path: Path, text: str, separator: str, names: Sequence[str] | None) -> Table:
    lines = text.splitlines()
    first_line = 1
    if names is None:
        if not lines:
            raise UnreadableFile(f"{path}: the file is empty")
        names, lines, first_line = lines[0].split(separator), lines[1:], 2
    cells: list[list[object]] = [[] for _ in names]
    for number, line in enumerate(lines, start=first_line):
        if not line:
            continue
        parts = line.split(separator)
        if len(parts) != len(names):
            raise UnreadableFile(
                f"{path}, line {number}: {len(parts)} fields where {len(names)} were expected ({', '.join(names)})"
            )
        for column, part in zip(cells, parts, strict=True):
            column.append(part)
    return Table(dict(zip(_plain(names), cells, strict=True)), len(cells[0]), first_line)


def _decode(path: Path, encoding: str) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(
            f"{path}, line {line}: not {encoding} (byte {raw[error.start]:#04x}); "
            "name the file's encoding, for example --encoding latin-1"
        ) from error
    except LookupError as error:
        raise UnreadableFile(f"{path}: there is no encoding {encoding!r}") from error


def _from_json_lines(path: Path, encoding: str) -> Table:
    rows: list[dict[str, object]] = []
    names: dict[str, None] = {}
    for number, line in enumerate(_decode(path, encoding).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UnreadableFile(f"{path}, line {number}: not JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise UnreadableFile(f"{path}, line {number}: an object was expected")
        rows.append(row)
        names.update(dict.fromkeys(row))
    return Table({name: [_cell(row.get(name)) for row in rows] for name in names}, len(rows), 1)


def _from_arrow(table: pa.Table, first_line: int) -> Table:
    columns: dict[str, list[object]] = {}
    for name, plain in zip(table.column_names, _plain(table.column_names), strict=True):
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            column = pc.cast(pc.cast(column, pa.timestamp("ms")), pa.int64())
        columns[plain] = [_cell(value) for value in column.to_pylist()]
    return Table(columns, table.num_rows, first_line)


def _plain(names: Sequence[str]) -> list[str]:
    """Column names without the type that some data sets append (`user_id:token`)."""
    return [name.split(":", 1)[0].strip() for name in names]


def _cell(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [str(part) for part in value if part is not None]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a Parquet id or time that became a float on its way
    return str(value)
