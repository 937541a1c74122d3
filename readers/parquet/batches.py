"""Reads a Parquet file of events in batches of rows, in one schema for all files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from readers.errors import UnreadableFile
from readers.formats.events import actions
from readers.interactions.format_options import ACTION, EVENT_ID, ITEM, TIME, USER, VALUE, InteractionOptions
from readers.report import Report
from readers.tables.columns import Column, encode, numbers
from readers.tables.text import plain
from readers.tables.timestamps import read_times, unit_of

_ROWS: Final = 1 << 18
_USUAL: Final = {
    "user": USER,
    "item": ITEM,
    "time": TIME,
    "value": VALUE,
    "action": ACTION,
    "event_id": EVENT_ID,
}
_NAME: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    {
        "user": _NAME,
        "item": _NAME,
        "time": pa.float64(),
        "value": pa.float64(),
        "action": _NAME,
        "event_id": pa.string(),
    }
)


def batches(path: Path, options: InteractionOptions, report: Report) -> Iterator[pa.Table]:
    """Yields tables of SCHEMA, with times in milliseconds, and null or NaN for missing values. No row is dropped.

    A row without an action gets the action of the options, else `rate` if the file has values, else `view`. The first
    batch decides the unit of times. Raises UnreadableFile.
    """
    try:
        columns = columns_of(path, options)
        default = options.action or ("rate" if "value" in columns else "view")
        unit = options.time_unit
        file = pa.parquet.ParquetFile(path, pre_buffer=False)
        for batch in file.iter_batches(_ROWS, columns=list(columns.values()), use_threads=False):
            table, rows = pa.Table.from_batches([batch]), batch.num_rows
            cells = {what: table.column(name) for what, name in columns.items()}
            if unit is None and (unit := unit_of(cells["time"])) is not None:
                report.notes.append(f"{path.name}: times read as {unit} since 1970, by their magnitude")
            ids: Any = cells.get("event_id")
            yield pa.table(
                {
                    "user": _dictionary(encode(cells["user"])),
                    "item": _dictionary(encode(cells["item"])),
                    "time": read_times(cells["time"], unit, Report("")),
                    "value": numbers(cells["value"]) if "value" in cells else np.full(rows, np.nan),
                    "action": _dictionary(actions(cells.get("action"), default, options, rows)),
                    "event_id": pa.nulls(rows, pa.string()) if ids is None else pc.cast(ids, pa.string()),
                },
                schema=SCHEMA,
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFile(f"{path}: {error}") from error


def columns_of(path: Path, options: InteractionOptions) -> dict[str, str]:
    """Names of the file's columns, by their names in SCHEMA. Raises UnreadableFile if a required one is missing."""
    try:
        stored = pa.parquet.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFile(f"{path}: {error}") from error
    by_plain = {short.casefold(): name for short, name in zip(plain(stored), stored, strict=True)}
    found = {}
    for what, usual in _USUAL.items():
        asked = options.names(what, options.user_names if what == "user" else usual)
        name = next((by_plain[name.casefold()] for name in asked if name.casefold() in by_plain), None)
        if name is not None:
            found[what] = name
        elif what in options.columns or what in ("user", "item", "time"):
            raise UnreadableFile(
                f"{path}: no column for the {what} among {', '.join(stored)}; name it with "
                f"--column {what}=NAME"
            )
    return found


def _dictionary(column: Column) -> Any:
    absent = column.codes < 0
    return pa.DictionaryArray.from_arrays(
        pa.array(np.where(absent, 0, column.codes), pa.int32(), mask=absent),
        pa.array(column.names or [""], pa.string()),
    )
