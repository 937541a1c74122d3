"""Files with one JSON object per line."""

import ast
import json
from pathlib import Path

from readers.errors import UnreadableFile
from readers.tables.content import lines


def read_json_lines(
    path: Path, encoding: str | None, only: set[str] | None
) -> tuple[dict[str, list[object]], list[str], int]:
    """Reads one JSON object per line. Lines may also be Python dictionaries, which some old data sets have.

    Args:
        path: The file.
        encoding: None: UTF-8.
        only: Case-folded names of the columns to keep, so that a file may be larger than memory. None: all.

    Returns:
        Columns by name, with None where an object lacks the name. The names of all columns. The number of rows.

    Raises:
        UnreadableFile: A line is not an object.
    """
    columns: dict[str, list[object]] = {}
    names: dict[str, bool] = {}
    texts: dict[str, str] = {}
    rows = 0
    for number, line in lines(path, encoding):
        if not line.strip():
            continue
        for name, value in _object(path, number, line).items():
            if name not in names:
                names[name] = only is None or name.casefold() in only
            if names[name]:
                column = columns.setdefault(name, [])
                column.extend([None] * (rows - len(column)))
                # Equal ids share one string, to save memory.
                column.append(texts.setdefault(value, value) if isinstance(value, str) else value)
        rows += 1
    for column in columns.values():
        column.extend([None] * (rows - len(column)))
    return columns, list(names), rows


def _object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        row = _python_dictionary(line)
        if row is None:
            raise UnreadableFile(f"{path}, line {number}: not JSON: {error.msg}") from error
    if not isinstance(row, dict):
        raise UnreadableFile(f"{path}, line {number}: expected one JSON object per line")
    return row


def _python_dictionary(line: str) -> object:
    if not line.lstrip().startswith(("{'", '{"')):
        return None
    try:
        return ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
