"""The conditions of a filter. Each tests one item, and makes a mask of all rows. Both always agree."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from catalog.filters.postings import Mask, Numbers, Postings
from catalog.items.items import Item
from recstream.v1 import filter_pb2

CATEGORY: Final = "category"
DOMAIN: Final = "domain"
ATTRIBUTE_PREFIX: Final = "attributes."


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """What masks are made from.

    Attributes:
        postings: Rows by text of a field.
        numbers: Numbers by attribute and row.
        rows: Row by item id.
        size: How many rows there are.
    """

    postings: Postings
    numbers: Numbers
    rows: Mapping[str, int]
    size: int


class Condition(Protocol):
    """A condition on items."""

    def matches(self, item: Item) -> bool:
        """Whether the item matches."""
        ...

    def mask(self, index: ItemIndex) -> Mask:
        """A new mask [size] of the rows that match."""
        ...


@dataclass(frozen=True, slots=True)
class All:
    """Matches what all conditions match. Without conditions, it matches every item."""

    conditions: tuple[Condition, ...]

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return all(condition.matches(item) for condition in self.conditions)

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        mask = np.ones(index.size, dtype=np.bool_)
        for condition in self.conditions:
            mask &= condition.mask(index)
        return mask


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Matches what at least one of the conditions matches."""

    conditions: tuple[Condition, ...]

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return any(condition.matches(item) for condition in self.conditions)

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        mask = np.zeros(index.size, dtype=np.bool_)
        for condition in self.conditions:
            mask |= condition.mask(index)
        return mask


@dataclass(frozen=True, slots=True)
class Exclude:
    """Matches what the condition does not match."""

    condition: Condition

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return not self.condition.matches(item)

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        mask = self.condition.mask(index)
        return np.logical_not(mask, out=mask)


@dataclass(frozen=True, slots=True)
class HasText:
    """Matches items that have one of the texts in the field."""

    field: str
    texts: frozenset[str]

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return not self.texts.isdisjoint(texts_of(item, self.field))

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        return index.postings.any_of(((self.field, text) for text in self.texts), index.size)


@dataclass(frozen=True, slots=True)
class InRange:
    """Matches items that have a number of the attribute in [low, high]."""

    attribute: str
    low: float
    high: float

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return any(self.low <= number <= self.high for number in item.numbers.get(self.attribute, ()))

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        return index.numbers.between(self.attribute, self.low, self.high, index.size)


@dataclass(frozen=True, slots=True)
class Exists:
    """Matches items that have any value in the field."""

    field: str

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return bool(texts_of(item, self.field)) or self.field.removeprefix(ATTRIBUTE_PREFIX) in item.numbers

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        return index.postings.any_of([(self.field,)], index.size)


@dataclass(frozen=True, slots=True)
class HasId:
    """Matches items by id."""

    item_ids: frozenset[str]

    def matches(self, item: Item) -> bool:
        """See `Condition`."""
        return item.item_id in self.item_ids

    def mask(self, index: ItemIndex) -> Mask:
        """See `Condition`."""
        mask = np.zeros(index.size, dtype=np.bool_)
        mask[[index.rows[item_id] for item_id in self.item_ids if item_id in index.rows]] = True
        return mask


def texts_of(item: Item, field: str) -> tuple[str, ...]:
    """The item's texts in a field of a filter."""
    if field == CATEGORY:
        return item.categories
    if field == DOMAIN:
        return (item.domain,) if item.domain else ()
    return item.texts.get(field.removeprefix(ATTRIBUTE_PREFIX), ())


def fields_of(item: Item) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The fields in which the item has values, with the texts in them."""
    if item.categories:
        yield CATEGORY, item.categories
    if item.domain:
        yield DOMAIN, (item.domain,)
    for name, texts in item.texts.items():
        yield f"{ATTRIBUTE_PREFIX}{name}", texts
    for name in item.numbers:
        yield f"{ATTRIBUTE_PREFIX}{name}", ()


def condition_of(wanted: filter_pb2.Filter | None, domain: str) -> Condition:
    """The condition of a request: its filter and its domain. An empty domain matches every item.

    `filter_check.problems` must have found no problem in the filter.
    """
    parts = [] if wanted is None else [_condition(wanted)]
    if domain:
        parts.append(HasText(DOMAIN, frozenset({domain})))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _condition(wanted: filter_pb2.Filter) -> Condition:
    match wanted.WhichOneof("condition"):
        case "all":
            return All(tuple(map(_condition, wanted.all.filters)))
        case "any":
            return AnyOf(tuple(map(_condition, wanted.any.filters)))
        case "exclude":
            return Exclude(_condition(wanted.exclude))
        case "text":
            return HasText(wanted.text.field, frozenset(wanted.text.values))
        case "range":
            bounds = wanted.range
            return InRange(
                bounds.field.removeprefix(ATTRIBUTE_PREFIX),
                bounds.min if bounds.HasField("min") else -math.inf,
                bounds.max if bounds.HasField("max") else math.inf,
            )
        case "exists":
            return Exists(wanted.exists)
        case "item_ids":
            return HasId(frozenset(wanted.item_ids.values))
        case _:
            raise ValueError("a filter without a condition was not checked")
