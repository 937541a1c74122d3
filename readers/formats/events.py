"""Format: one event in each row, in named columns. CSV, TSV, Parquet or JSON lines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from readers.errors import UnreadableFile
from readers.interactions.checks import RawInteractions
from readers.interactions.format_options import ACTION, EVENT_ID, ITEM, TIME, USER, VALUE, InteractionOptions
from readers.report import Report
from readers.tables.columns import Cells, Column, encode, numbers
from readers.tables.table import Table, read_table
from readers.tables.timestamps import read_times


def read(
    path: Path,
    options: InteractionOptions,
    report: Report,
    *,
    has_values: bool = True,
    parse: Callable[[str], float] | None = None,
) -> RawInteractions:
    """Reads the usual columns.

    Args:
        path: The file.
        options: What the file does not say about itself.
        report: Gets notes.
        has_values: Whether to look for a column of values.
        parse: Turns a timestamp that is not a number into Unix milliseconds. None: ISO 8601.

    Raises:
        UnreadableFile: A required column is missing.
    """
    usual = (*USER, *options.user_names, *ITEM, *TIME, *VALUE, *ACTION, *EVENT_ID)
    table = read_table(path, options.layout, (*usual, *options.columns.values()))
    users = encode(column(table, options, "user", options.user_names))
    items = encode(column(table, options, "item", ITEM))
    times = read_times(column(table, options, "time", TIME), options.time_unit, report, parse)
    cells = optional(table, options, "value", VALUE) if has_values else None
    values = numbers(cells) if cells is not None else None
    if values is not None and np.isnan(values).all():
        report.notes.append("no row has a value")
        values = None
    default = options.action or ("rate" if values is not None else "view")
    given = optional(table, options, "event_id", EVENT_ID)
    return RawInteractions(
        users,
        items,
        actions(optional(table, options, "action", ACTION), default, options, table.rows),
        times,
        values,
        _event_ids(given) if given is not None else None,
        table.first_line,
    )


def column(table: Table, options: InteractionOptions, what: str, usual: Sequence[str]) -> Cells:
    """The column that holds `what`. Raises UnreadableFile if there is none."""
    found = optional(table, options, what, usual)
    if found is None:
        raise UnreadableFile(
            f"{table.path}: no column for the {what} among {', '.join(table.names)}; "
            f"name it with --column {what}=NAME"
        )
    return found


def optional(table: Table, options: InteractionOptions, what: str, usual: Sequence[str]) -> Cells | None:
    """Like `column`, but None if there is none. Raises UnreadableFile if a named column is missing."""
    name = table.find(options.names(what, usual))
    if name is None and what in options.columns:
        raise UnreadableFile(
            f"{table.path}: there is no column {options.columns[what]!r} among {', '.join(table.names)}"
        )
    return table.column(name) if name is not None else None


def actions(cells: Cells | None, default: str, options: InteractionOptions, rows: int) -> Column:
    """The action of each row, by recstream's names; `default` for empty cells."""
    if cells is None:
        return Column.constant(default, rows)
    found = encode(cells)
    blank = found.blank()
    if blank.any():
        codes = np.where(blank, len(found.names), found.codes).astype(np.int32)
        found = Column([*found.names, default], codes)
    return found.renamed(options.action_names)


def _event_ids(cells: Cells) -> pa.StringArray:
    texts: Any = pc.cast(cells, pa.string()).combine_chunks()
    given: pa.StringArray = pc.if_else(pc.equal(texts, pa.scalar("")), pa.scalar(None, pa.string()), texts)
    return given
