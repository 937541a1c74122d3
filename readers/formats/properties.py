"""RetailRocket's items: snapshots of properties, and a tree of categories in another file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from readers.items.item_limits import truncate
from readers.items.items import ItemOptions, ItemRow
from readers.report import Report
from readers.tables.columns import encode
from readers.tables.table import read_table
from readers.tables.timestamps import read_times
from recstream.v1 import item_pb2

PROPERTIES = ("timestamp", "itemid", "property", "value")
TREE = ("categoryid", "parentid")


def read(
    properties: Sequence[tuple[Path, Report]], trees: Sequence[tuple[Path, Report]], options: ItemOptions
) -> dict[str, ItemRow]:
    """Items by id. Raises UnreadableFile.

    The latest value of a property counts. An item is in its category and in all parent categories, so that a filter on
    a parent finds it. `available` is an attribute. Other properties are hashed words, and are dropped.
    """
    parents: dict[str, str] = {}
    for path, report in trees:
        table = read_table(path, options.layout)
        report.rows = report.kept = table.rows
        pairs = zip(encode(table.column(TREE[0])), encode(table.column(TREE[1])), strict=True)
        parents |= {child: parent for child, parent in pairs if parent.strip()}
    latest: dict[tuple[str, str], tuple[float, str]] = {}
    item_ids: dict[str, None] = {}
    for path, report in properties:
        table = read_table(path, options.layout)
        report.rows = table.rows
        items, names, values = (encode(table.column(name)) for name in PROPERTIES[1:])
        times = read_times(table.column(PROPERTIES[0]), None, report)
        item_ids |= dict.fromkeys(items)
        known = [position for position, name in enumerate(names.names) if name in ("categoryid", "available")]
        rows = np.flatnonzero(np.isin(names.codes, known) & ~np.isnan(times))
        report.kept = len(rows)
        report.notes.append("properties that are hashed words are left out")
        for row in rows.tolist():
            key = items[row], names[row]
            if key not in latest or times[row] >= latest[key][0]:
                latest[key] = float(times[row]), values[row]
    return {
        item_id: ItemRow(_item(item_id, latest, parents, options)) for item_id in item_ids if item_id.strip()
    }


def _item(
    item_id: str,
    latest: Mapping[tuple[str, str], tuple[float, str]],
    parents: Mapping[str, str],
    options: ItemOptions,
) -> item_pb2.Item:
    item = item_pb2.Item(item_id=item_id, domain=options.domain)
    if (own := latest.get((item_id, "categoryid"))) is not None:
        item.categories.extend(_upwards(own[1], parents))
    if (available := latest.get((item_id, "available"))) is not None:
        item.attributes["available"].texts.append(available[1])
    truncate(item)
    return item


def _upwards(category: str, parents: Mapping[str, str]) -> list[str]:
    """A category and its ancestors, the nearest first. A cycle ends the walk."""
    path: dict[str, None] = {}
    at: str | None = category
    while at is not None and at not in path:
        path[at] = None
        at = parents.get(at)
    return list(path)
