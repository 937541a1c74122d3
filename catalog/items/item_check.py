"""The limits of an item, and the check against them."""

import math
from collections.abc import Iterable
from typing import Final

from catalog.items import media
from recstream.v1 import item_pb2

MAX_ID_BYTES: Final = 256
MAX_TITLE_BYTES: Final = 4096
MAX_DESCRIPTION_BYTES: Final = 32_768
MAX_CATEGORIES: Final = 64
MAX_ATTRIBUTES: Final = 64
MAX_NUMBERS: Final = 64
MAX_NAME_BYTES: Final = 256
MAX_VALUE_BYTES: Final = 1024

_YEAR_10000_MS: Final = 253_402_300_800_000
# Milliseconds until March 1973. A smaller time that is not 0 was most likely given in seconds.
_LOOKS_LIKE_SECONDS: Final = 100_000_000_000


def check(item: item_pb2.Item, *, stored: bool = False) -> list[tuple[str, str]]:
    """Returns the problems of an item as (field, problem). Empty: the item is valid.

    Args:
        item: The item.
        stored: Whether the item comes from storage. Its media may then have a hash instead of their contents.
    """
    found = list(id_problems("item_id", item.item_id))
    found += _too_long("title", item.title, MAX_TITLE_BYTES)
    found += _too_long("description", item.description, MAX_DESCRIPTION_BYTES)
    found += _too_long("domain", item.domain, MAX_NAME_BYTES)
    for field, size, limit in (
        ("categories", len(item.categories), MAX_CATEGORIES),
        ("attributes", len(item.attributes), MAX_ATTRIBUTES),
        ("numbers", len(item.numbers), MAX_NUMBERS),
    ):
        if size > limit:
            found.append((field, f"has {size} entries; the limit is {limit}"))
    for i, category in enumerate(item.categories[:MAX_CATEGORIES]):
        found += _name(f"categories[{i}]", category)
    if len(item.attributes) <= MAX_ATTRIBUTES:
        for name, value in sorted(item.attributes.items()):
            found += _name("attributes", name)
            found += _too_long(f"attributes[{name[:64]}]", value, MAX_VALUE_BYTES)
    if len(item.numbers) <= MAX_NUMBERS:
        for name, number in sorted(item.numbers.items()):
            found += _name("numbers", name)
            if not math.isfinite(number):
                found.append((f"numbers[{name[:64]}]", f"is {number}, not a finite number"))
    found += media.problems(item.media, stored)
    found += _time_problems(item)
    return found


def id_problems(field: str, item_id: str) -> Iterable[tuple[str, str]]:
    """The problems of an item id as (field, problem)."""
    if not item_id.strip():
        yield field, "is blank"
    yield from _too_long(field, item_id, MAX_ID_BYTES)


def _time_problems(item: item_pb2.Item) -> Iterable[tuple[str, str]]:
    expires, published = item.expires_at_ms, item.published_at_ms
    if not 0 <= expires < _YEAR_10000_MS:
        yield "expires_at_ms", f"is {expires}, not Unix time in milliseconds (0: never expires)"
    elif 0 < expires < _LOOKS_LIKE_SECONDS:
        yield "expires_at_ms", f"is {expires}, which looks like seconds; use milliseconds"
    # Films and books that were published before 1970 have negative times.
    if not -_YEAR_10000_MS < published < _YEAR_10000_MS:
        yield "published_at_ms", f"is {published}, not Unix time in milliseconds (0: unknown)"


def _name(field: str, name: str) -> Iterable[tuple[str, str]]:
    if not name.strip():
        yield field, "has a blank name"
    yield from _too_long(field, name, MAX_NAME_BYTES)


def _too_long(field: str, text: str, limit: int) -> Iterable[tuple[str, str]]:
    # A character has four bytes at most, so most texts need not be encoded to be measured.
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        yield field, f"has {size} bytes; the limit is {limit}"
