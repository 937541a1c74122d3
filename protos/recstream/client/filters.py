"""Builds filters from Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from recstream.v1.filter_pb2 import Filter, FilterList, ItemIds, RangeFilter, TextFilter


@dataclass(frozen=True)
class Condition:
    """A filter that can be combined.

    `a & b` matches what both match, `a | b` what at least one matches, and `~a` what `a` does not match.

    Attributes:
        filter: the filter as a message.

    Example:
        >>> wanted = category("shoes") & ~attribute("brand", "Acme") & attribute_between("price", max=20)
        >>> [part.WhichOneof("condition") for part in wanted.filter.all.filters]
        ['text', 'exclude', 'range']
    """

    filter: Filter

    def __and__(self, other: Condition) -> Condition:
        return Condition(Filter(all=FilterList(filters=[*_parts(self, "all"), *_parts(other, "all")])))

    def __or__(self, other: Condition) -> Condition:
        return Condition(Filter(any=FilterList(filters=[*_parts(self, "any"), *_parts(other, "any")])))

    def __invert__(self) -> Condition:
        return Condition(Filter(exclude=self.filter))


Filterable = Condition | Filter | str
"""What a call takes as its filter: a condition, a message, or a text such as `category = "shoes"`
(https://google.aip.dev/160). The server reads texts."""


class FilterFields(TypedDict, total=False):
    """The fields of a request that hold its filter."""

    filter: Filter
    filter_text: str


def category(*names: str) -> Condition:
    """Items of at least one of these categories."""
    return _text("category", names)


def domain(*names: str) -> Condition:
    """Items of one of these domains."""
    return _text("domain", names)


def attribute(name: str, *texts: str) -> Condition:
    """Items that have at least one of these texts in the attribute."""
    return _text(f"attributes.{name}", texts)


def attribute_between(name: str, min: float | None = None, max: float | None = None) -> Condition:
    """Items that have a number of the attribute in this range, ends included; None: an open end."""
    return Condition(Filter(range=RangeFilter(field=f"attributes.{name}", min=min, max=max)))


def has_attribute(name: str) -> Condition:
    """Items that have any value in the attribute."""
    return Condition(Filter(exists=f"attributes.{name}"))


def item_ids(*ids: str) -> Condition:
    """Items with these ids."""
    return Condition(Filter(item_ids=ItemIds(values=ids)))


def filter_fields(wanted: Filterable | None) -> FilterFields:
    """The fields of a request for this filter. None: no filter."""
    if wanted is None:
        return {}
    if isinstance(wanted, str):
        return {"filter_text": wanted}
    return {"filter": wanted.filter if isinstance(wanted, Condition) else wanted}


def _text(field: str, values: tuple[str, ...]) -> Condition:
    return Condition(Filter(text=TextFilter(field=field, values=values)))


def _parts(condition: Condition, kind: str) -> list[Filter]:
    """The filters of a list of this kind, or the filter itself. So `a & b & c` is one list."""
    if condition.filter.WhichOneof("condition") != kind:
        return [condition.filter]
    return list((condition.filter.all if kind == "all" else condition.filter.any).filters)
