"""Interaction files of any shape, read into one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from readers.errors import UnreadableFile
from readers.formats import baskets, events, mind, movielens, sequences, sessions
from readers.interactions.checks import Raw, checked
from readers.interactions.detect_format import guess
from readers.interactions.format_options import InteractionFormat
from readers.interactions.interactions import Interactions
from readers.interactions.order import merged, ordered, repeats
from readers.report import Report


@dataclass(frozen=True, slots=True)
class Shape:
    """A format. read: of one file of several; None where it only explains another.

    value_range: of its values, where none is given. action_names: what its actions are called here.
    """

    about: str
    read: Callable[[Path, InteractionFormat, Report, Sequence[Path]], Raw | None]
    value_range: tuple[float, float] | None = None
    action_names: dict[str, str] = field(default_factory=dict)


SHAPES = {
    "events": Shape("an event a row, in named columns", lambda p, f, r, _: events.read(p, f, r)),
    "movielens": Shape(
        "ratings.dat, u.data or ratings.csv", lambda p, f, r, _: movielens.read(p, f, r), (0.5, 5.0)
    ),
    "reviews": Shape(
        "Amazon reviews of 2014, 2018 or 2023, JSON lines",
        lambda p, f, r, _: events.read(p, f, r),
        (1.0, 5.0),
    ),
    "sessions": Shape(
        "clicks and purchases by session, as Yoochoose", lambda p, f, r, _: sessions.read(p, f, r)
    ),
    "retailrocket": Shape(
        "views, carts and transactions by visitor",
        lambda p, f, r, _: events.read(p, f, r, valued=False),
        action_names={"addtocart": "cart", "transaction": "purchase"},
    ),
    "baskets": Shape("orders and their items, as Instacart or Complete Journey", baskets.read),
    "mind": Shape("behaviors.tsv: histories and impressions", lambda p, f, r, _: mind.read(p, f, r)),
    "sequences": Shape(
        "a user a line, then its items in order, no times", lambda p, f, r, _: sequences.read(p, f, r)
    ),
}


def read_interactions(
    paths: Sequence[Path], form: InteractionFormat | None = None, shape: str | None = None
) -> tuple[Interactions, list[Report]]:
    """Reads, checks, merges and orders files. shape: the name of a format, else it is guessed of each.

    Rows that cannot be used are left out and counted, in a report for each file. Raises UnreadableFile where
    a file as a whole makes no sense.
    """
    form = form or InteractionFormat()
    if shape is not None and shape not in SHAPES:
        raise UnreadableFile(f"no format {shape!r}: one of {', '.join(SHAPES)}")
    reports, tables = [], []
    for path in paths:
        name = shape or ("events" if form.layout.columns else guess(path))
        report = Report(str(path), format=name)
        reports.append(report)
        if shape is None:
            report.notes.append(f"read as {name}: {SHAPES[name].about}")
        one = _with_defaults(form, SHAPES[name])
        raw = SHAPES[name].read(path, one, report, paths)
        if raw is not None:
            tables.append(checked(raw, one, report))
            del raw
    if not tables:
        raise UnreadableFile(f"{', '.join(map(str, paths))}: no file with events")
    rows = merged(tables)
    pa.default_memory_pool().release_unused()
    several = len(tables) > 1
    del tables
    if several and (again := repeats(rows)).any():
        reports[-1].notes.append(f"{int(again.sum()):,} events were in an earlier file too: left out")
        rows = rows.take(np.flatnonzero(~again))
    return ordered(rows, form, reports[-1]), reports


def _with_defaults(form: InteractionFormat, shape: Shape) -> InteractionFormat:
    return replace(
        form,
        value_range=form.value_range or shape.value_range,
        action_names={**shape.action_names, **form.action_names},
    )
