"""Reads files of items in any format into one list."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from readers.errors import UnreadableFile
from readers.formats import attributes, properties
from readers.interactions.format_options import ITEM
from readers.items.items import ItemOptions, ItemRow, drop_attributes, read_item_table
from readers.report import Report
from readers.tables.content import decoded, detect_encoding, first_lines, suffix
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


def read_items(
    paths: Sequence[Path], options: ItemOptions | None = None
) -> tuple[list[ItemRow], list[Report]]:
    """Reads and checks files. Their formats are detected from their first lines. The last row of an item counts.

    Returns:
        The items, and a report for each file.

    Raises:
        UnreadableFile: A file as a whole cannot be used.
    """
    options = options or ItemOptions()
    reports = [Report(str(path), format=_detect_format(path, options)) for path in paths]
    by_format: dict[str, list[tuple[Path, Report]]] = {}
    for path, report in zip(paths, reports, strict=True):
        by_format.setdefault(report.format, []).append((path, report))
    found: dict[str, ItemRow] = {}
    for path, report in zip(paths, reports, strict=True):
        if report.format not in ("properties", "category tree"):
            found |= _read(path, options, report)
    snapshots, trees = by_format.get("properties", []), by_format.get("category tree", [])
    if trees and not snapshots:
        raise UnreadableFile(
            f"{trees[0][0]}: a category tree alone names no item; add the file of item properties"
        )
    if snapshots:
        found |= properties.read(snapshots, trees, options)
    return list(found.values()), reports


def _read(path: Path, options: ItemOptions, report: Report) -> dict[str, ItemRow]:
    if report.format == "attributes":
        return attributes.read(path, options, report)
    known = {"films": FILMS, "flagged films": FLAGGED_FILMS, "news": NEWS}.get(report.format)
    if known is None:
        return read_item_table(path, options, report)
    encoding = options.layout.encoding or detect_encoding(path)
    report.notes.append(f"no header line: {', '.join((known.columns or ())[:5])}, ...; {encoding}")
    options = replace(options, layout=replace(known, encoding=encoding))
    if report.format == "films":
        return read_item_table(path, replace(options, category_separator="|"), report)
    if report.format == "news":
        return _news(read_item_table(path, options, report))
    return _flags(read_item_table(path, options, report))


def _flags(films: dict[str, ItemRow]) -> dict[str, ItemRow]:
    """Turns columns of 0 and 1 into genres."""
    for film in films.values():
        facts = film.item.attributes
        film.item.categories.extend(
            genre for genre in GENRES[1:] if genre in facts and list(facts[genre].texts) == ["1"]
        )
        drop_attributes(film.item, *GENRES, "imdb_url", "video_release_date")
    return films


def _news(news: dict[str, ItemRow]) -> dict[str, ItemRow]:
    """Drops URLs and linked entities, which are not text."""
    for one in news.values():
        drop_attributes(one.item, "url", "title_entities", "abstract_entities")
    return news


def _detect_format(path: Path, options: ItemOptions) -> str:
    """The format of a file, by its first lines; `table` if no other fits."""
    if suffix(path) == ".parquet" or options.layout.columns is not None:
        return "table"
    first = next(iter(first_lines(path)), "")
    if options.layout.separator is None:
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
    return "attributes" if suffix(path) == ".json" and _is_one_object(path, options) else "table"


def _is_one_object(path: Path, options: ItemOptions) -> bool:
    """Whether a file is one JSON object of lists, and not one item per line."""
    try:
        whole = json.loads(decoded(path, options.layout.encoding))
    except json.JSONDecodeError:
        return False
    names = {name.casefold() for name in ITEM}
    return isinstance(whole, dict) and not any(key.casefold() in names for key in whole)
