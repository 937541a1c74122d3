"""Item files of any shape, read into one list."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from readers.errors import UnreadableFile
from readers.formats import attributes, properties
from readers.interactions.format_options import ITEM
from readers.items.items import ItemFormat, ItemRow, read_table_of_items
from readers.report import Report
from readers.tables.content import decoded, either_encoding, sample, suffix
from readers.tables.text import Layout

FILMS = Layout("::", columns=("item_id", "title", "genres"))
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
FLAGGED_FILMS = Layout(
    "|", columns=("item_id", "title", "release_date", "video_release_date", "imdb_url", *GENRES)
)
NEWS = Layout(
    "\t",
    columns=(
        "item_id",
        "category",
        "subcategory",
        "title",
        "abstract",
        "url",
        "title_entities",
        "abstract_entities",
    ),
)


def read_items(paths: Sequence[Path], form: ItemFormat | None = None) -> tuple[list[ItemRow], list[Report]]:
    """Reads and checks files, whose shapes are seen from their first lines. The last word on an item counts.

    Raises UnreadableFile.
    """
    form = form or ItemFormat()
    reports = [Report(str(path), format=_shape(path, form)) for path in paths]
    by_shape: dict[str, list[tuple[Path, Report]]] = {}
    for path, report in zip(paths, reports, strict=True):
        by_shape.setdefault(report.format, []).append((path, report))
    found: dict[str, ItemRow] = {}
    for path, report in zip(paths, reports, strict=True):
        if report.format not in ("properties", "category tree"):
            found |= _read(path, form, report)
    snapshots, trees = by_shape.get("properties", []), by_shape.get("category tree", [])
    if trees and not snapshots:
        raise UnreadableFile(f"{trees[0][0]}: a tree of categories alone names no item")
    if snapshots:
        found |= properties.read(snapshots, trees, form)
    return list(found.values()), reports


def _read(path: Path, form: ItemFormat, report: Report) -> dict[str, ItemRow]:
    if report.format == "attributes":
        return attributes.read(path, form, report)
    known = {"films": FILMS, "flagged films": FLAGGED_FILMS, "news": NEWS}.get(report.format)
    if known is None:
        return read_table_of_items(path, form, report)
    encoding = form.layout.encoding or either_encoding(path)
    report.notes.append(f"no header line: {', '.join((known.columns or ())[:5])}, ...; {encoding}")
    form = replace(form, layout=replace(known, encoding=encoding))
    if report.format == "films":
        return read_table_of_items(path, replace(form, category_separator="|"), report)
    if report.format == "news":
        return _news(read_table_of_items(path, form, report))
    return _flags(read_table_of_items(path, form, report))


def _flags(films: dict[str, ItemRow]) -> dict[str, ItemRow]:
    """Genres come as columns of 0 and 1."""
    for film in films.values():
        facts = film.item.attributes
        film.item.categories.extend(genre for genre in GENRES[1:] if facts.get(genre) == "1")
        for name in GENRES:
            facts.pop(name, None)
        for name in ("imdb_url", "video_release_date"):
            facts.pop(name, None)
    return films


def _news(news: dict[str, ItemRow]) -> dict[str, ItemRow]:
    """Addresses and linked entities are no text."""
    for one in news.values():
        for name in ("url", "title_entities", "abstract_entities"):
            one.item.attributes.pop(name, None)
    return news


def _shape(path: Path, form: ItemFormat) -> str:
    """Of a file, by its first lines; `table` where nothing speaks for another."""
    if suffix(path) == ".parquet" or form.layout.columns is not None:
        return "table"
    first = next(iter(sample(path)), "")
    if form.layout.separator is None:
        if re.fullmatch(r"\d+::.+::[^:]*", first):
            return "films"
        if first.count("|") == 4 + len(GENRES) and re.match(r"\d+\|", first):
            return "flagged films"
        if re.match(r"N\d+\t", first) and first.count("\t") == len(NEWS.columns or ()) - 1:
            return "news"
    names = [name.strip().strip('"').casefold() for name in first.split(",")]
    if names == list(properties.PROPERTIES):
        return "properties"
    if names == list(properties.TREE):
        return "category tree"
    return "attributes" if suffix(path) == ".json" and _is_one_object(path, form) else "table"


def _is_one_object(path: Path, form: ItemFormat) -> bool:
    """Whether a file is one JSON object of lists, and not an item a line."""
    try:
        whole = json.loads(decoded(path, form.layout.encoding))
    except json.JSONDecodeError:
        return False
    names = {name.casefold() for name in ITEM}
    return isinstance(whole, dict) and not any(key.casefold() in names for key in whole)
