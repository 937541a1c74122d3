"""Converts cells of item files to the fields of the contract."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from readers.tables.table import cell as table_cell

# Words that some data sets write where an item has no category.
NO_CATEGORY = frozenset({"", "(no genres listed)", "unknown", "none", "null", "nan", "0", "n/a"})
# Amounts as shops write them: `$1,299.00`, `from 4.99`.
AMOUNT = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Image:
    """The image of an item.

    Attributes:
        reference: A path or a URL; empty if `content` has the image.
        content: Bytes of a PNG, JPEG or other image file.
    """

    reference: str = ""
    content: bytes = b""


def words(cell: object) -> str:
    """The text of a cell; elements of a list are joined by spaces. Markup stays, and is dropped where text is used."""
    if isinstance(cell, list):
        return " ".join(filter(None, map(words, cell)))
    text = table_cell(cell)
    return text if isinstance(text, str) else ""


def parts(cell: object, separator: str | None) -> list[object]:
    """The values of a cell: the elements of a list, or what is between separators. None: a cell is one value."""
    if isinstance(cell, list):
        return cell
    if separator is None or not isinstance(cell, str):
        return [cell]
    return [part.strip() for part in cell.split(separator)]


def categories(cell: object, separator: str | None) -> list[str]:
    """Distinct names of categories. `separator`: between names in one string; None: `|`, else `,`."""
    names = list(_names(cell, separator))
    spaced = (re.sub(r"\s+", " ", name).strip() for name in names)
    return list(dict.fromkeys(name for name in spaced if name.casefold() not in NO_CATEGORY))


def _names(cell: object, separator: str | None) -> Iterator[str]:
    if isinstance(cell, list):
        for part in cell:
            yield from _names(part, separator) if isinstance(part, list) else [words(part)]
        return
    text = words(cell)
    split = separator or next((mark for mark in ("|", ",") if mark in text), None)
    yield from text.split(split) if split else [text]


def number(cell: object) -> float | None:
    """The number in a cell, with or without a currency before it; None if there is no finite number."""
    text = words(cell)
    try:
        found = float(text)
    except ValueError:
        amount = AMOUNT.search(text) if len(text) < 64 else None
        found = float(amount[0].replace(",", "")) if amount else math.nan
    return found if math.isfinite(found) else None


def image(cell: object, folder: Path) -> Image | None:
    """The first image of a cell: bytes, a path relative to `folder`, a URL, a dictionary of these, or a list."""
    if isinstance(cell, list):
        return next((found for part in cell if (found := image(part, folder)) is not None), None)
    if isinstance(cell, dict):
        keys = ("bytes", "hi_res", "large", "path", "url", "thumb")
        return next((f for key in keys if (f := image(cell.get(key), folder)) is not None), None)
    if isinstance(cell, bytes):
        return Image(content=cell) if cell else None
    text = words(cell).strip()
    if not text:
        return None
    return Image(text if "://" in text or text.startswith("data:") else str(folder / text))
