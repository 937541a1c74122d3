"""Drops rows that cannot be used, and reports them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.order import repeats
from readers.report import Report
from readers.tables.columns import Column
from readers.tables.timestamps import LATEST_MS, LATEST_YEAR


@dataclass(frozen=True, slots=True)
class RawInteractions:
    """Columns of length n as a format reads them, unchecked.

    Attributes:
        users: The user id of each row.
        items: The item id of each row.
        actions: The action of each row.
        times: float64 [n], Unix milliseconds; NaN where a cell is not a timestamp.
        values: float64 [n], NaN where a cell is not a number; None if the file has no values.
        event_ids: Strings or null; None if the file has no ids.
        lines: int64 [n], the line number of each row; or the line number of the first row, if each row is one line.
        timed: See `Interactions`.
    """

    users: Column
    items: Column
    actions: Column
    times: NDArray[np.float64]
    values: NDArray[np.float64] | None = None
    event_ids: pa.StringArray | None = None
    lines: NDArray[np.int64] | int = 1
    timed: bool = True


def checked(raw: RawInteractions, options: InteractionOptions, report: Report) -> Interactions:
    """Returns the usable rows, in the order of the file. Counts the others in `report`, by what is wrong with them."""
    n = len(raw.times)
    report.rows += n
    values = raw.values if raw.values is not None else np.full(n, np.nan)
    keep = np.ones(n, np.bool_)

    def refuse(kind: str, wrong: NDArray[np.bool_]) -> None:
        if (rows := np.flatnonzero(wrong & keep)).size:
            lines = rows + raw.lines if isinstance(raw.lines, int) else raw.lines[rows]
            report.add(kind, "left out", lines)
            keep[rows] = False

    refuse("user missing", raw.users.blank())
    refuse("item missing", raw.items.blank())
    refuse("time missing or not a time", np.isnan(raw.times))
    refuse(
        f"time impossible (before 1970 or after {LATEST_YEAR})", (raw.times <= 0) | (raw.times >= LATEST_MS)
    )
    if raw.values is not None:
        # An action that never has a value needs none, such as a view among ratings.
        valued = np.bincount(raw.actions.codes[~np.isnan(values)], minlength=len(raw.actions.names)) > 0
        refuse("value missing or not a number", np.isnan(values) & valued[raw.actions.codes])
    if options.value_range:
        low, high = options.value_range
        refuse(f"value outside {low:g} to {high:g}", (values < low) | (values > high))
    rows = Interactions(
        raw.users, raw.items, raw.actions, np.nan_to_num(np.where(keep, raw.times, 0)).astype(np.int64), values,
        np.arange(n, dtype=np.int32), raw.event_ids, timed=raw.timed,
    )  # fmt: skip
    kept = np.flatnonzero(keep)
    again = repeats(rows.take(kept) if len(kept) < n else rows)
    if again.any():
        duplicate = np.zeros(n, np.bool_)
        duplicate[kept[again]] = True
        refuse("duplicate", duplicate)
        kept = np.flatnonzero(keep)
    report.kept += len(kept)
    return rows.take(kept) if len(kept) < n else rows
