"""MIND (Wu et al., 2020): the click history of each user, and impressions, clicked or not."""

from array import array
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from readers.errors import UnreadableFile
from readers.interactions.checks import RawInteractions
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import IMPRESSION
from readers.report import Report
from readers.tables.columns import Column, encode
from readers.tables.content import first_lines
from readers.tables.text import Layout, read_text
from readers.tables.timestamps import iso_ms, read_times

COLUMNS = ("impression_id", "user_id", "time", "history", "impressions")
CLICK, SHOWN = 0, 1
STEP_MS = 1000.0


def read(path: Path, options: InteractionOptions, report: Report) -> RawInteractions:
    """Reads behaviors.tsv. Raises UnreadableFile.

    Each row repeats the history of its user. The history is read once. It precedes the user's other events, with one
    second between clicks. A news item that was shown and not clicked is an impression.
    """
    first = next(iter(first_lines(path)), "")
    fields = first.count("\t") + 1
    if fields not in (len(COLUMNS), len(COLUMNS) - 1):
        raise UnreadableFile(f"{path}, line 1: {fields} fields between tabs; expected {', '.join(COLUMNS)}")
    columns = COLUMNS[-fields:]
    table, _ = read_text(path, Layout("\t", options.layout.encoding, columns))
    users = encode(table.column("user_id"))
    times = read_times(table.column("time"), options.time_unit, report, _american_ms)
    rows = _Rows()
    starts = _first_times(users, times)
    seen: dict[int, str] = {}
    differing, unlabelled = [], []
    texts = zip(
        users.codes.tolist(),
        times.tolist(),
        _strings(table, "history"),
        _strings(table, "impressions"),
        strict=True,
    )
    for line, (user, time, history, impressions) in enumerate(texts, start=1):
        if history and user not in seen:
            seen[user] = history
            before = history.split()
            for position, item in enumerate(before):
                rows.add(user, item, CLICK, starts[user] - STEP_MS * (len(before) - position), line)
        elif history and seen[user] != history:
            differing.append(line)
        for shown in impressions.split():
            item, dash, label = shown.rpartition("-")
            if dash and label in ("0", "1"):
                rows.add(user, item, CLICK if label == "1" else SHOWN, time, line)
            else:
                unlabelled.append(line)
                break
    report.add("history differs from the user's first", "left out", differing)
    report.add("impressions without click labels", "unusable for metrics: left out", unlabelled)
    return rows.raw(users.names, options.action or "click")


class _Rows:
    """Events in the order in which they are found."""

    def __init__(self) -> None:
        self._items: dict[str, int] = {}
        self._codes = array("i")
        self._users = array("i")
        self._kinds = array("i")
        self._times = array("d")
        self._lines = array("q")

    def add(self, user: int, item: str, kind: int, time_ms: float, line: int) -> None:
        self._codes.append(self._items.setdefault(item, len(self._items)))
        self._users.append(user)
        self._kinds.append(kind)
        self._times.append(time_ms)
        self._lines.append(line)

    def raw(self, user_names: list[str], click: str) -> RawInteractions:
        return RawInteractions(
            Column(user_names, np.array(self._users, np.int32)),
            Column(list(self._items), np.array(self._codes, np.int32)),
            Column([click, IMPRESSION], np.array(self._kinds, np.int32)),
            np.array(self._times, np.float64),
            lines=np.array(self._lines, np.int64),
        )


def _first_times(users: Column, times: NDArray[np.float64]) -> list[float]:
    first = np.full(len(users.names) + 1, np.inf)
    known = ~np.isnan(times)
    np.minimum.at(first, users.codes[known], times[known])
    return [float(time_ms) for time_ms in np.where(np.isinf(first), np.nan, first)]


def _strings(table: pa.Table, name: str) -> list[str]:
    return [str(text) for text in table.column(name).to_pylist()]


def _american_ms(text: str) -> float:
    """`11/15/2019 8:55:22 AM`, or ISO 8601. Raises ValueError."""
    try:
        moment = datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
    except ValueError:
        return iso_ms(text)
    return moment.timestamp() * 1000
