"""Items with anonymous attributes: one JSON object that maps item ids to lists of attribute ids."""

import json
from pathlib import Path

from readers.errors import UnreadableFile
from readers.items.item_limits import MAX_ID_BYTES, truncate
from readers.items.items import ItemOptions, ItemRow
from readers.report import Report
from readers.tables.content import decoded
from recstream.v1 import item_pb2


def read(path: Path, options: ItemOptions, report: Report) -> dict[str, ItemRow]:
    """Items by id. The attributes become categories. Raises UnreadableFile."""
    text = decoded(path, options.layout.encoding)
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableFile(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(table, dict):
        raise UnreadableFile(f'{path}: expected {{"item id": [attribute ids], ...}}')
    found: dict[str, ItemRow] = {}
    for position, (item_id, attributes) in enumerate(table.items(), start=1):
        report.rows += 1
        if not isinstance(attributes, list) or any(isinstance(a, list | dict) for a in attributes):
            raise UnreadableFile(f"{path}: item {item_id[:64]!r}: expected a list of attribute ids")
        if not item_id.strip() or len(item_id.encode()) > MAX_ID_BYTES:
            report.add("item id blank or too long", "left out", [position])
            continue
        names = dict.fromkeys(str(a) for a in attributes if a is not None and str(a).strip())
        item = item_pb2.Item(item_id=item_id, categories=names, domain=options.domain)
        for what in truncate(item):
            report.add(f"{what} past the limit", "cut", [position])
        found[item_id] = ItemRow(item)
    report.notes.append("no titles: attributes are read as categories")
    report.kept += len(found)
    return found
