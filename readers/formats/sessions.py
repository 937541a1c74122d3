"""Clicks and purchases by session, as in Yoochoose (RecSys Challenge 2015): two files without a header line."""

import re
from dataclasses import replace
from pathlib import Path

from readers.errors import UnreadableFile
from readers.formats import events
from readers.interactions.checks import RawInteractions
from readers.interactions.format_options import InteractionOptions
from readers.report import Report
from readers.tables.content import first_lines, suffix
from readers.tables.text import Layout

# The last field of a click is where it happened: `S` a promotion, `0` missing, 1 to 12 a category, a longer number a
# brand. It describes the click and not the item, so it is dropped.
CLICKS = ("session_id", "time", "item_id", "context")
BUYS = ("session_id", "time", "item_id", "price", "quantity")
FIRST = re.compile(r"[^,]+,\d{4}-\d\d-\d\d[T ][^,]*,.*")
SESSION = ("session_id", "sessionId", "session", "sid")


def read(path: Path, options: InteractionOptions, report: Report) -> RawInteractions:
    """Reads clicks or purchases. A session is a user. Raises UnreadableFile."""
    if options.layout.columns is None and suffix(path) != ".parquet":
        first = next(iter(first_lines(path)), "")
        if FIRST.fullmatch(first):
            options = _without_header(path, len(first.split(",")), options, report)
    if "user" not in options.columns:
        options = replace(options, user_names=SESSION)
    return events.read(path, options, report, has_values=False)


def _without_header(
    path: Path, fields: int, options: InteractionOptions, report: Report
) -> InteractionOptions:
    known = {len(CLICKS): (CLICKS, "click"), len(BUYS): (BUYS, "purchase")}
    if fields not in known:
        raise UnreadableFile(
            f"{path}, line 1: {fields} fields; clicks have 4 (session, time, item, context), "
            "purchases 5 (session, time, item, price, quantity)"
        )
    columns, action = known[fields]
    report.notes.append(f"no header line: {', '.join(columns)}; each row is a {options.action or action}")
    layout = Layout(",", options.layout.encoding, columns)
    return replace(options, layout=layout, action=options.action or action)
