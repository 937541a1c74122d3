"""Interaction files: who did what with which item, when."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.errors import UnreadableFile
from datasets.report import Report
from datasets.table import Layout, Table, read_table

USER = (
    "user_id",
    "userId",
    "user",
    "uid",
    "visitorid",
    "reviewerID",
    "household_id",
    "customer_id",
    "session_id",
)
ITEM = (
    "item_id",
    "itemId",
    "item",
    "movieId",
    "movie_id",
    "itemid",
    "product_id",
    "asin",
    "parent_asin",
    "sku",
)
TIME = ("event_time_ms", "timestamp", "time", "event_time", "ts", "unixReviewTime", "transaction_timestamp")
VALUE = ("value", "rating", "overall", "score", "stars")
ACTION = ("action", "event", "event_type", "behavior")
EVENT_ID = ("event_id", "eventId")

# From which magnitude on a number of seconds, milliseconds, ... since 1970 is meant: 1e11 seconds would
# be the year 5138, and 1e11 milliseconds is 1973.
UNITS = (
    (1e11, "seconds", 1000.0),
    (1e14, "milliseconds", 1.0),
    (1e17, "microseconds", 1e-3),
    (np.inf, "nanoseconds", 1e-6),
)
EARLIEST_MS = 0
LATEST_YEAR = 2100


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions as columns of length n, in ascending time; ties by a hash of user and item, so that the
    order of a file tells nothing.

    time_ms: int64 [n], Unix milliseconds. values: float64 [n], NaN where there is none.
    """

    user_ids: list[str]
    item_ids: list[str]
    actions: list[str]
    event_ids: list[str]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.user_ids)

    def take(self, order: NDArray[np.int64]) -> "Interactions":
        """The rows at these indices, in their order."""
        pick = order.tolist()
        return Interactions(
            [self.user_ids[i] for i in pick],
            [self.item_ids[i] for i in pick],
            [self.actions[i] for i in pick],
            [self.event_ids[i] for i in pick],
            self.time_ms[order],
            self.values[order],
        )

    def split(self, share: float) -> tuple["Interactions", "Interactions"]:
        """The first `share` of the rows by time, and the rest."""
        cut = int(len(self) * share)
        rows = np.arange(len(self))
        return self.take(rows[:cut]), self.take(rows[cut:])

    def shifted(self, milliseconds: int) -> "Interactions":
        """The same, later by so much."""
        return Interactions(
            self.user_ids,
            self.item_ids,
            self.actions,
            self.event_ids,
            self.time_ms + milliseconds,
            self.values,
        )


@dataclass(frozen=True, slots=True)
class InteractionFormat:
    """What a file does not say of itself.

    action: of rows without one; None: `rate` where there are values, else `view`.
    value_range: values outside are refused. time_unit: seconds, milliseconds, ...; None: by magnitude.
    columns: names for user, item, time, value and action that are not among the usual ones.
    """

    layout: Layout = field(default_factory=Layout)
    action: str | None = None
    value_range: tuple[float, float] | None = None
    time_unit: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


def read_interactions(path: Path, form: InteractionFormat) -> tuple[Interactions, Report]:
    """Reads, checks and orders a file. Rows that cannot be used are left out and counted in the report.

    Raises UnreadableFile where the file as a whole makes no sense.
    """
    table = read_table(path, form.layout)
    report = Report(str(path), rows=table.rows)
    users = _column(table, path, form, "user", USER)
    items = _column(table, path, form, "item", ITEM)
    times = _times(_column(table, path, form, "time", TIME), form.time_unit, report)
    raw_values = _optional(table, form, "value", VALUE)
    values = _numbers(raw_values) if raw_values else np.full(table.rows, np.nan)
    default = form.action or ("rate" if raw_values else "view")
    actions = _optional(table, form, "action", ACTION) or [default] * table.rows
    event_ids = _optional(table, form, "event_id", EVENT_ID)

    keep = np.ones(table.rows, dtype=bool)

    def refuse(kind: str, wrong: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(wrong & keep)
        report.add(kind, "left out", (rows + table.first_line).tolist())
        keep[rows] = False

    refuse("user missing", _blank(users))
    refuse("item missing", _blank(items))
    refuse("time missing or not a time", np.isnan(times))
    latest = datetime(LATEST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000
    refuse(
        f"time impossible (before 1970 or after {LATEST_YEAR})", (times <= EARLIEST_MS) | (times >= latest)
    )
    if raw_values:
        refuse("value missing or not a number", np.isnan(values))
    if form.value_range:
        low, high = form.value_range
        refuse(f"value outside {low:g} to {high:g}", (values < low) | (values > high))
    texts = [(str(u), str(i), str(a or default)) for u, i, a in zip(users, items, actions, strict=True)]
    ids = [
        str(event_ids[row])
        if event_ids and event_ids[row]
        else _event_id(texts[row], times[row], values[row])
        for row in range(table.rows)
    ]
    refuse("duplicate", _repeats(ids, keep))

    kept = np.flatnonzero(keep)
    report.kept = len(kept)
    order = kept[np.lexsort((_tie_breaks(texts, kept), times[kept]))]
    columns = Interactions(
        [t[0] for t in texts], [t[1] for t in texts], [t[2] for t in texts], ids,
        np.nan_to_num(times).astype(np.int64), values,
    )  # fmt: skip
    return columns.take(order), report


def _column(
    table: Table, path: Path, form: InteractionFormat, what: str, names: Sequence[str]
) -> list[object]:
    found = _optional(table, form, what, names)
    if found is None:
        raise UnreadableFile(
            f"{path}: no column for the {what} among {', '.join(table.columns)}; name it with --column {what}=NAME"
        )
    return found


def _optional(table: Table, form: InteractionFormat, what: str, names: Sequence[str]) -> list[object] | None:
    name = table.find([form.columns[what]] if what in form.columns else names)
    if name is None and what in form.columns:
        raise UnreadableFile(f"there is no column {form.columns[what]!r} among {', '.join(table.columns)}")
    return table.columns[name] if name is not None else None


def _blank(cells: Sequence[object]) -> NDArray[np.bool_]:
    return np.array([cell is None or not str(cell).strip() for cell in cells], dtype=bool)


def _numbers(cells: Sequence[object], parse: Callable[[str], float] = float) -> NDArray[np.float64]:
    numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        try:
            numbers[row] = parse(str(cell)) if cell is not None else np.nan
        except ValueError:
            continue
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _iso_ms(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000


def _times(cells: Sequence[object], unit: str | None, report: Report) -> NDArray[np.float64]:
    numbers = _numbers(cells)
    usable = numbers[np.isfinite(numbers) & (numbers > 0)]
    if len(usable) == 0:
        report.notes.append("times read as ISO 8601, UTC where no zone is given")
        return _numbers(cells, _iso_ms)
    if unit is None:
        # One unit for the file, by its middle: single outliers are then seen to be impossible.
        middle = float(np.median(usable))
        _, unit, factor = next(u for u in UNITS if middle < u[0])
        report.notes.append(f"times read as {unit} since 1970, by their magnitude")
    else:
        factor = next((f for _, name, f in UNITS if name == unit), 0.0)
        if not factor:
            raise UnreadableFile(f"no unit of time {unit!r}: one of {', '.join(u[1] for u in UNITS)}")
    return numbers * factor


def _event_id(text: tuple[str, str, str], time_ms: float, value: float) -> str:
    """The same row has the same id, so that importing it twice changes nothing."""
    body = "\0".join((*text, repr(time_ms), repr(value)))
    return hashlib.blake2b(body.encode(), digest_size=12).hexdigest()


def _repeats(ids: Sequence[str], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    seen: set[str] = set()
    repeats = np.zeros(len(ids), dtype=bool)
    for row in np.flatnonzero(keep).tolist():
        repeats[row] = ids[row] in seen
        seen.add(ids[row])
    return repeats


def _tie_breaks(texts: Sequence[tuple[str, str, str]], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    return np.array(
        [
            int.from_bytes(hashlib.blake2b("\0".join(texts[row][:2]).encode(), digest_size=8).digest())
            for row in rows.tolist()
        ],
        dtype=np.uint64,
    )
