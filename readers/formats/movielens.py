"""MovieLens in its three layouts: `::` without a header (1M, 10M), `u.data` (100K), and CSV with one."""

import re
from dataclasses import replace
from pathlib import Path

from readers.formats import events
from readers.interactions.checks import RawInteractions
from readers.interactions.format_options import InteractionOptions
from readers.report import Report
from readers.tables.content import detect_encoding, first_lines, suffix
from readers.tables.text import Layout

COLUMNS = ("user_id", "item_id", "rating", "timestamp")
LONG = re.compile(r"\d+::\d+::[\d.]+::\d+")
TABS = re.compile(r"\d+\t\d+\t[\d.]+\t\d+")


def read(path: Path, options: InteractionOptions, report: Report) -> RawInteractions:
    """Reads ratings. Raises UnreadableFile."""
    found = layout(path)
    if found is not None and options.layout.columns is None:
        encoding = options.layout.encoding or detect_encoding(path)
        options = replace(options, layout=replace(found, encoding=encoding))
        report.notes.append(f"no header line: {', '.join(found.columns or ())}; {encoding}")
    return events.read(path, options, report)


def layout(path: Path) -> Layout | None:
    """The layout of a file of ratings without a header line; None for other files."""
    if suffix(path) == ".parquet":
        return None
    first = next(iter(first_lines(path)), "")
    if LONG.fullmatch(first):
        return Layout("::", columns=COLUMNS)
    return Layout("\t", columns=COLUMNS) if TABS.fullmatch(first) else None
