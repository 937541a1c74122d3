"""One user in each line: its id, then item ids from the oldest to the newest. No timestamps.

Research data sets of Amazon reviews have this format (S3-Rec: Zhou et al., 2020).
"""

from array import array
from pathlib import Path

import numpy as np

from readers.interactions.checks import RawInteractions
from readers.interactions.format_options import EPOCH_MS, InteractionOptions
from readers.report import Report
from readers.tables.columns import Column
from readers.tables.content import lines as lines_of

STEP_MS = 1000


def read(path: Path, options: InteractionOptions, report: Report) -> RawInteractions:
    """Reads lines of items. Raises UnreadableFile.

    The item at position k gets a synthetic timestamp, k seconds after the start of 2000. It only orders the items of
    one user.
    """
    separator = options.layout.separator or " "
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    lengths: dict[int, int] = {}
    user_codes, item_codes, positions, lines = array("i"), array("i"), array("q"), array("q")
    empty, again = [], []
    for number, line in lines_of(path, options.layout.encoding):
        words = line.rstrip("\r\n").replace("\t", separator).split(separator)
        user_id, *item_ids = [word for word in words if word.strip()] or [""]
        if not user_id:
            continue
        if not item_ids:
            empty.append(number)
        user = users.setdefault(user_id, len(users))
        start = lengths.get(user, 0)
        if start:
            again.append(number)
        lengths[user] = start + len(item_ids)
        for position, item_id in enumerate(item_ids, start=start + 1):
            user_codes.append(user)
            item_codes.append(items.setdefault(item_id, len(items)))
            positions.append(position)
            lines.append(number)
    report.add("user without items", "left out", empty)
    report.add("user on an earlier line too", "appended to the earlier line", again)
    action = options.action or "purchase"
    report.notes.append(f"each item in a line is a {action}")
    report.notes.append(
        "timestamps are positions in the line, a second apart: the order within a user is right, the dates mean nothing"
    )
    return RawInteractions(
        Column(list(users), np.array(user_codes, np.int32)),
        Column(list(items), np.array(item_codes, np.int32)),
        Column.constant(action, len(positions)),
        EPOCH_MS + STEP_MS * np.array(positions, np.float64),
        lines=np.array(lines, np.int64),
        timed=False,
    )
