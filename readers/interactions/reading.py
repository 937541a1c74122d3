"""Reads files of interactions in any format into one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from readers.errors import UnreadableFile
from readers.formats import baskets, events, mind, movielens, sequences, sessions
from readers.interactions.checks import RawInteractions, checked
from readers.interactions.detect_format import detect_format
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.order import merged, ordered, repeats
from readers.report import Report


@dataclass(frozen=True, slots=True)
class Format:
    """A format of interactions.

    Attributes:
        about: What the files hold; part of the note that a file was detected as this format.
        read: Reads one file. Takes its path, the options, its report, and all files of the command. Returns None if
            the file only completes another one, such as orders without items.
        value_range: Lowest and highest value, unless the options say otherwise.
        action_names: Maps the file's names of actions to recstream's.
    """

    about: str
    read: Callable[[Path, InteractionOptions, Report, Sequence[Path]], RawInteractions | None]
    value_range: tuple[float, float] | None = None
    action_names: dict[str, str] = field(default_factory=dict)


FORMATS = {
    "events": Format("one event per row, in named columns", lambda p, f, r, _: events.read(p, f, r)),
    "movielens": Format(
        "ratings.dat, u.data or ratings.csv", lambda p, f, r, _: movielens.read(p, f, r), (0.5, 5.0)
    ),
    "reviews": Format(
        "Amazon reviews of 2014, 2018 or 2023, JSON lines",
        lambda p, f, r, _: events.read(p, f, r),
        (1.0, 5.0),
    ),
    "sessions": Format(
        "clicks and purchases by session, as in Yoochoose", lambda p, f, r, _: sessions.read(p, f, r)
    ),
    "retailrocket": Format(
        "views, carts and transactions by visitor",
        lambda p, f, r, _: events.read(p, f, r, has_values=False),
        action_names={"addtocart": "cart", "transaction": "purchase"},
    ),
    "baskets": Format("orders and their items, as in Instacart or Complete Journey", baskets.read),
    "mind": Format("behaviors.tsv: histories and impressions", lambda p, f, r, _: mind.read(p, f, r)),
    "sequences": Format(
        "one user per line with its items in order, no times", lambda p, f, r, _: sequences.read(p, f, r)
    ),
}


def read_interactions(
    paths: Sequence[Path], options: InteractionOptions | None = None, format_name: str | None = None
) -> tuple[Interactions, list[Report]]:
    """Reads, checks, merges and orders files.

    Args:
        paths: At least one.
        options: What the files do not say about themselves.
        format_name: A key of `FORMATS`. None: detected for each file.

    Returns:
        The rows, and a report for each file. Rows that cannot be used are dropped and reported.

    Raises:
        UnreadableFile: A file as a whole cannot be used, or there is no such format.
    """
    options = options or InteractionOptions()
    if format_name is not None and format_name not in FORMATS:
        raise UnreadableFile(f"there is no format {format_name!r}; use one of {', '.join(FORMATS)}")
    reports, tables = [], []
    for path in paths:
        name = format_name or ("events" if options.layout.columns else detect_format(path))
        report = Report(str(path), format=name)
        reports.append(report)
        if format_name is None:
            report.notes.append(f"read as {name}: {FORMATS[name].about}")
        one = _with_defaults(options, FORMATS[name])
        raw = FORMATS[name].read(path, one, report, paths)
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
    return ordered(rows, options, reports[-1]), reports


def _with_defaults(options: InteractionOptions, format_: Format) -> InteractionOptions:
    return replace(
        options,
        value_range=options.value_range or format_.value_range,
        action_names={**format_.action_names, **options.action_names},
    )
