"""Delimited text files, read by Arrow."""

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv

from readers.errors import UnreadableFile
from readers.tables.content import content, decoded, known_encoding, suffix

if TYPE_CHECKING:
    import _csv

SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".dat": "::"}
# Replaces a separator of several characters, because Arrow takes only one character.
UNIT_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read a text file.

    Attributes:
        separator: What separates fields. None: by the file's extension.
        encoding: The text encoding. None: UTF-8, or the encoding of the format.
        columns: Column names, for a file without a header line.
    """

    separator: str | None = None
    encoding: str | None = None
    columns: Sequence[str] | None = None


def read_text(path: Path, layout: Layout, only: Sequence[str] | None = None) -> tuple[pa.Table, list[str]]:
    """Reads a text file.

    Args:
        path: The file.
        layout: How to read it.
        only: Columns that may be needed, ignoring case and types in their names. None: all.

    Returns:
        Columns of strings, and the names of all columns of the file.

    Raises:
        UnreadableFile, ArrowInvalid: The file is not what the layout says.
    """
    raw = _utf8(path, layout.encoding)
    shown = separator = layout.separator or SEPARATORS.get(suffix(path)) or ","
    if not raw.strip():
        raise UnreadableFile(f"{path}: the file is empty")
    if len(separator) > 1:
        raw, separator = raw.replace(separator.encode(), UNIT_SEPARATOR.encode()), UNIT_SEPARATOR
    quoted = separator in ",;"
    names = list(layout.columns) if layout.columns else _header(raw, separator, quoted)
    try:
        table = pa.csv.read_csv(
            io.BytesIO(raw),
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=0 if layout.columns else 1),
            parse_options=pa.csv.ParseOptions(
                delimiter=separator,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted and b'"' in raw,
            ),
            convert_options=pa.csv.ConvertOptions(
                # Ids keep their leading zeros: nothing is a number until a column is known to be one.
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                include_columns=None if only is None else _useful(names, only),
            ),
        )
    except pa.ArrowInvalid as error:
        decoded(path, layout.encoding)  # If the encoding is wrong, this names the line.
        if (said := _miscounted(raw.decode(), separator, quoted, names)) is not None:
            hint = f"is {shown!r} the separator (--separator)?"
            raise UnreadableFile(f"{path}, {said} ({', '.join(names[:12])}); {hint}") from error
        raise
    return table, names


def plain(names: Sequence[str]) -> list[str]:
    """Column names without the type that RecBole's data sets append (`user_id:token`)."""
    return [name.split(":", 1)[0].strip() for name in names]


def _useful(names: Sequence[str], only: Sequence[str]) -> list[str]:
    """The wanted columns; all where none is wanted, since a table without columns has no rows."""
    wanted = {name.casefold() for name in only}
    found = [name for name, short in zip(names, plain(names), strict=True) if short.casefold() in wanted]
    return found or list(names)


def _utf8(path: Path, encoding: str | None) -> bytes:
    """The file in UTF-8. A file that is UTF-8 is not decoded: Arrow checks every byte anyway."""
    native = known_encoding(path, encoding) == "utf-8"
    return content(path).removeprefix(codecs.BOM_UTF8) if native else decoded(path, encoding).encode()


def _header(raw: bytes, separator: str, quoted: bool) -> list[str]:
    return next(_rows(raw.split(b"\n", 1)[0].decode("utf-8", "replace"), separator, quoted), [])


def _rows(text: str, separator: str, quoted: bool) -> "_csv.Reader":
    lines = io.StringIO(text, newline="")
    if quoted:
        return csv.reader(lines, delimiter=separator)
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)


def _miscounted(text: str, separator: str, quoted: bool, names: Sequence[str]) -> str | None:
    """Describes the first line with a wrong number of fields. It is slow, so it is only called after a failure."""
    rows = _rows(text, separator, quoted)
    try:
        for row in rows:
            if row and len(row) != len(names):
                return f"line {rows.line_num}: {len(row)} fields where {len(names)} were expected"
    except csv.Error:  # a field longer than this reader's limit
        pass
    return None
