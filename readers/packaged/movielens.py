"""MovieLens-100K (Harper and Konstan, 2015), from the package that ships it."""

import os
import sys
from pathlib import Path

from readers.errors import UnreadableFile
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.items.item_files import read_items
from readers.items.items import ItemOptions, drop_attributes
from recstream.v1 import item_pb2

INSIDE = Path("recbole", "dataset_example", "ml-100k")


def folder() -> Path:
    """The folder of the data set. Raises UnreadableFile if its package is not installed."""
    if named := os.environ.get("RECSTREAM_MOVIELENS"):
        return Path(named)
    checkout = Path(__file__).resolve().parents[2]
    positions = [*checkout.glob(".envs/datasets/lib/python3*/site-packages"), *map(Path, sys.path)]
    for position in positions:
        if (position / INSIDE / "ml-100k.inter").is_file():
            return position / INSIDE
    raise UnreadableFile("MovieLens-100K is not installed: `make demo` installs the package that ships it")


def interactions() -> Interactions:
    """100,000 ratings of 943 users on 1,682 films, September 1997 to April 1998."""
    return read_interactions([folder() / "ml-100k.inter"], InteractionOptions(value_range=(1, 5)), "events")[
        0
    ]


def items() -> list[item_pb2.Item]:
    """1,682 films with title, year and genres. Titles carry the year, as the originals do."""
    rows, _ = read_items([folder() / "ml-100k.item"], ItemOptions(domain="film", category_separator=" "))
    films = [row.item for row in rows]
    for film in films:
        if film.title and "release_year" in film.attributes:
            year = film.attributes["release_year"].numbers[0]
            if year:
                film.title = f"{film.title} ({year:.0f})"
                film.attributes["year"].numbers.append(year)
                drop_attributes(film, "release_year")
    return films
