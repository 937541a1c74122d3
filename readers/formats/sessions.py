"""Clicks and purchases by session, as Yoochoose (RecSys challenge 2015) has them: two files, no header."""

import re
from dataclasses import replace
from pathlib import Path

from readers.errors import UnreadableFile
from readers.formats import events
from readers.interactions.checks import Raw
from readers.interactions.format_options import InteractionFormat
from readers.report import Report
from readers.tables.content import sample, suffix
from readers.tables.text import Layout

# A click's last field is where it happened: `S` a promotion, `0` missing, 1 to 12 a category, a longer
# number a brand. It is of the click and not of the item, so nothing is made of it.
CLICKS = ("session_id", "time", "item_id", "context")
BUYS = ("session_id", "time", "item_id", "price", "quantity")
FIRST = re.compile(r"[^,]+,\d{4}-\d\d-\d\d[T ][^,]*,.*")
SESSION = ("session_id", "sessionId", "session", "sid")


def read(path: Path, form: InteractionFormat, report: Report) -> Raw:
    """A session is a user. Raises UnreadableFile."""
    if form.layout.columns is None and suffix(path) != ".parquet":
        first = next(iter(sample(path)), "")
        if FIRST.fullmatch(first):
            form = _without_header(path, len(first.split(",")), form, report)
    if "user" not in form.columns:
        form = replace(form, user_names=SESSION)
    return events.read(path, form, report, valued=False)


def _without_header(path: Path, fields: int, form: InteractionFormat, report: Report) -> InteractionFormat:
    known = {len(CLICKS): (CLICKS, "click"), len(BUYS): (BUYS, "purchase")}
    if fields not in known:
        raise UnreadableFile(
            f"{path}, line 1: {fields} fields; clicks have 4 (session, time, item, context), "
            "purchases 5 (session, time, item, price, quantity)"
        )
    columns, action = known[fields]
    report.notes.append(f"no header line: {', '.join(columns)}; each row is a {form.action or action}")
    layout = Layout(",", form.layout.encoding, columns)
    return replace(form, layout=layout, action=form.action or action)
