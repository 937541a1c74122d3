"""The criteria of a request's filter, and the check of a filter."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from catalog.items.items import Item
from recstream.v1 import filter_pb2

MAX_CATEGORIES: Final = 1000
MAX_PARTS: Final = 64
MAX_VALUES: Final = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """The item must have this number, and it must lie in [low, high]."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Criteria:
    """A filter and a domain. An item must match every part. An empty part matches every item."""

    categories: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    attributes: tuple[tuple[str, frozenset[str]], ...] = ()
    ranges: tuple[Range, ...] = ()
    domain: str = ""

    @classmethod
    def of(cls, wanted: filter_pb2.Filter | None, domain: str) -> Self:
        """The criteria of a request."""
        if wanted is None:
            return cls(domain=domain)
        return cls(
            categories=frozenset(wanted.categories),
            excluded=frozenset(wanted.excluded_categories),
            attributes=tuple((part.name, frozenset(part.values)) for part in wanted.attributes),
            ranges=tuple(
                Range(
                    part.name,
                    part.min if part.HasField("min") else -math.inf,
                    part.max if part.HasField("max") else math.inf,
                )
                for part in wanted.ranges
            ),
            domain=domain,
        )

    def matches(self, item: Item) -> bool:
        """Whether the item matches. An attribute part without values matches no item."""
        if self.domain and item.domain != self.domain:
            return False
        if self.categories and self.categories.isdisjoint(item.categories):
            return False
        if self.excluded and not self.excluded.isdisjoint(item.categories):
            return False
        if any(item.attributes.get(name) not in values for name, values in self.attributes):
            return False
        return all(part.low <= item.numbers.get(part.name, math.nan) <= part.high for part in self.ranges)


def check_filter(wanted: filter_pb2.Filter) -> list[tuple[str, str]]:
    """Returns the problems of a filter as (field, problem). Empty: the filter is valid."""
    found: list[tuple[str, str]] = []
    found += _too_many("categories", len(wanted.categories), MAX_CATEGORIES)
    found += _too_many("excluded_categories", len(wanted.excluded_categories), MAX_CATEGORIES)
    found += _too_many("attributes", len(wanted.attributes), MAX_PARTS)
    found += _too_many("ranges", len(wanted.ranges), MAX_PARTS)
    for i, attribute in enumerate(wanted.attributes[:MAX_PARTS]):
        if not attribute.name:
            found.append((f"attributes[{i}].name", "is empty"))
        if not attribute.values:
            found.append((f"attributes[{i}].values", "is empty, so no item could match"))
        found += _too_many(f"attributes[{i}].values", len(attribute.values), MAX_VALUES)
    for i, part in enumerate(wanted.ranges[:MAX_PARTS]):
        if not part.name:
            found.append((f"ranges[{i}].name", "is empty"))
        if math.isnan(part.min):
            found.append((f"ranges[{i}].min", "is not a number"))
        if math.isnan(part.max):
            found.append((f"ranges[{i}].max", "is not a number"))
        if part.HasField("min") and part.HasField("max") and part.min > part.max:
            found.append((f"ranges[{i}]", f"is empty: min {part.min} is above max {part.max}"))
    return found


def _too_many(field: str, size: int, limit: int) -> Iterable[tuple[str, str]]:
    if size > limit:
        yield field, f"has {size} entries; the limit is {limit}"
