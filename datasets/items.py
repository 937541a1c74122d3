"""Item files: what can be recommended."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets.errors import UnreadableFile
from datasets.interactions import ITEM
from datasets.report import Report
from datasets.table import Layout, read_table
from recstream.v1 import item_pb2

TITLE = ("title", "movie_title", "name", "product_name", "product_type")
DESCRIPTION = ("description", "abstract", "overview", "summary", "text")
CATEGORIES = ("categories", "category", "genres", "genre", "class", "tags")
NUMBERS = ("price", "year", "release_year", "duration", "length")
# Words that some data sets write where an item has no category.
NO_CATEGORY = frozenset({"", "(no genres listed)", "unknown", "none", "0", "n/a"})


@dataclass(frozen=True, slots=True)
class ItemFormat:
    """What a file does not say of itself.

    category_separator: between categories in one cell; None: `|` or `,` where there is one.
    numbers: columns that are facts in numbers; any further column is an attribute.
    """

    layout: Layout = field(default_factory=Layout)
    category_separator: str | None = None
    domain: str = ""
    numbers: Sequence[str] = NUMBERS
    columns: dict[str, str] = field(default_factory=dict)


def read_items(path: Path, form: ItemFormat) -> tuple[list[item_pb2.Item], Report]:
    """Reads and checks a file. The last row of an item counts. Raises UnreadableFile."""
    table = read_table(path, form.layout)
    report = Report(str(path), rows=table.rows)
    chosen = {
        what: table.find([form.columns[what]] if what in form.columns else names)
        for what, names in (
            ("item", ITEM),
            ("title", TITLE),
            ("description", DESCRIPTION),
            ("categories", CATEGORIES),
        )
    }
    if chosen["item"] is None:
        raise UnreadableFile(
            f"{path}: no column for the item among {', '.join(table.columns)}; name it with --column item=NAME"
        )
    numbers = [name for name in table.columns if name in form.numbers]
    attributes = [name for name in table.columns if name not in set(numbers) | set(chosen.values())]

    items: dict[str, item_pb2.Item] = {}
    missing, repeated, untitled = [], [], []
    for row in range(table.rows):
        line = row + table.first_line

        def cell(name: str | None, row: int = row) -> object:
            return table.columns[name][row] if name is not None else None

        item_id = cell(chosen["item"])
        if item_id is None or not str(item_id).strip():
            missing.append(line)
            continue
        item = item_pb2.Item(
            item_id=str(item_id),
            title=str(cell(chosen["title"]) or ""),
            description=_words(cell(chosen["description"])),
            categories=_categories(cell(chosen["categories"]), form.category_separator),
            domain=form.domain,
        )
        for name in numbers:
            if (number := _number(cell(name))) is not None:
                item.numbers[name] = number
        for name in attributes:
            if words := _words(cell(name)):
                item.attributes[name] = words
        if not item.title:
            untitled.append(line)
        if item.item_id in items:
            repeated.append(line)
        items[item.item_id] = item
    report.add("item missing", "left out", missing)
    report.add("item repeated", "the last row counts", repeated)
    report.add("title missing", "kept, known by its id alone", untitled)
    report.kept = len(items)
    return list(items.values()), report


def _words(cell: object) -> str:
    if isinstance(cell, list):
        return " ".join(str(part) for part in cell)
    return str(cell) if cell is not None else ""


def _categories(cell: object, separator: str | None) -> list[str]:
    if isinstance(cell, list):
        names = [str(part) for part in cell]
    else:
        text = _words(cell)
        split = separator or next((mark for mark in ("|", ",") if mark in text), None)
        names = text.split(split) if split else [text]
    found = (re.sub(r"\s+", " ", name).strip() for name in names)
    return list(dict.fromkeys(name for name in found if name.casefold() not in NO_CATEGORY))


def _number(cell: object) -> float | None:
    try:
        return float(str(cell)) if cell is not None else None
    except ValueError:
        return None
