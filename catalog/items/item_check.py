"""The limits of an item, and the check against them."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from catalog.items import media
from recstream.v1 import item_pb2

MAX_ID_BYTES: Final = 256
MAX_TITLE_BYTES: Final = 4096
MAX_DESCRIPTION_BYTES: Final = 32_768
MAX_CATEGORIES: Final = 64
MAX_ATTRIBUTES: Final = 128
MAX_VALUES: Final = 64
"""Most values of one attribute."""
MAX_ATTRIBUTES_BYTES: Final = 131_072
"""Most bytes of all attributes together, so that the largest item with media fits into a record."""
MAX_NAME_BYTES: Final = 256
MAX_VALUE_BYTES: Final = 1024

# The range of Timestamp and of datetime, in Unix seconds.
_YEAR_1: Final = -62_135_596_800
_YEAR_10000: Final = 253_402_300_800


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
    found += _too_many("categories", len(item.categories), MAX_CATEGORIES)
    for i, category in enumerate(item.categories[:MAX_CATEGORIES]):
        found += _name(f"categories[{i}]", category)
    found += attributes_problems(item.attributes)
    found += media.problems(item.media, stored)
    if item.HasField("expires_at"):
        found += time_problems("expires_at", item.expires_at)
    if item.HasField("published_at"):
        # Films and books may be older than 1970.
        found += time_problems("published_at", item.published_at, earliest=_YEAR_1)
    if item.HasField("updated_at"):
        found += time_problems("updated_at", item.updated_at)
    return found


def id_problems(field: str, item_id: str) -> Iterable[tuple[str, str]]:
    """The problems of an item id as (field, problem)."""
    if not item_id.strip():
        yield field, "is blank"
    yield from _too_long(field, item_id, MAX_ID_BYTES)


def attributes_problems(attributes: Mapping[str, item_pb2.Attribute]) -> Iterable[tuple[str, str]]:
    """The problems of an item's attributes as (field, problem)."""
    if len(attributes) > MAX_ATTRIBUTES:
        yield from _too_many("attributes", len(attributes), MAX_ATTRIBUTES)
        return
    size = 0
    for name, attribute in sorted(attributes.items()):
        yield from _name("attributes", name)
        yield from _attribute_problems(f"attributes[{name[:64]}]", attribute)
        size += len(name.encode()) + attribute.ByteSize()
    if size > MAX_ATTRIBUTES_BYTES:
        yield "attributes", f"has {size} bytes in all names and values; the limit is {MAX_ATTRIBUTES_BYTES}"


def _attribute_problems(field: str, attribute: item_pb2.Attribute) -> Iterable[tuple[str, str]]:
    if attribute.texts and attribute.numbers:
        yield field, "has texts and numbers; give it one of the two"
    yield from _too_many(f"{field}.texts", len(attribute.texts), MAX_VALUES)
    yield from _too_many(f"{field}.numbers", len(attribute.numbers), MAX_VALUES)
    for i, text in enumerate(attribute.texts[:MAX_VALUES]):
        yield from _too_long(f"{field}.texts[{i}]", text, MAX_VALUE_BYTES)
    for i, number in enumerate(attribute.numbers[:MAX_VALUES]):
        if not math.isfinite(number):
            yield f"{field}.numbers[{i}]", f"is {number}, not a finite number"


def time_problems(field: str, time: Timestamp, earliest: int = 0) -> Iterable[tuple[str, str]]:
    """The problems of a time as (field, problem). `earliest` is in Unix seconds."""
    if not 0 <= time.nanos < 1_000_000_000:
        yield field, f"has {time.nanos} nanoseconds; a second has 0 to 999,999,999"
    if not earliest <= time.seconds < _YEAR_10000:
        first = "1970" if earliest == 0 else "the year 1"
        yield field, f"is {time.seconds} s of Unix time; it must be from {first} to the year 9999"


def _name(field: str, name: str) -> Iterable[tuple[str, str]]:
    if not name.strip():
        yield field, "has a blank name"
    yield from _too_long(field, name, MAX_NAME_BYTES)


def _too_many(field: str, size: int, limit: int) -> Iterable[tuple[str, str]]:
    if size > limit:
        yield field, f"has {size} entries; the limit is {limit}"


def _too_long(field: str, text: str, limit: int) -> Iterable[tuple[str, str]]:
    # A character has four bytes at most, so most texts need not be encoded to be measured.
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        yield field, f"has {size} bytes; the limit is {limit}"
