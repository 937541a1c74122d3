"""The criteria of a request's filter."""

import math
from dataclasses import dataclass
from typing import Self

from catalog.items.items import Item
from recstream.v1 import filter_pb2


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
