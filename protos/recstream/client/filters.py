"""Builds filters from Python values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from recstream.v1.filter_pb2 import AttributeFilter, Filter, RangeFilter

#: The ends of a range, inclusive; None: open.
Range = tuple[float | None, float | None]


def where(
    *,
    categories: Iterable[str] = (),
    excluded_categories: Iterable[str] = (),
    attributes: Mapping[str, str | Iterable[str]] | None = None,
    ranges: Mapping[str, Range] | None = None,
) -> Filter:
    """Returns a filter for the items of a list. An item must match every given part.

    Args:
        categories: the item has at least one of these.
        excluded_categories: the item has none of these.
        attributes: attribute name to a value, or to several values of which one must match.
        ranges: name of a number to (from, to), inclusive; None: an open end.

    Example:
        >>> where(categories=["Comedy"], ranges={"year": (1990, None)}).categories
        ['Comedy']
    """
    return Filter(
        categories=categories,
        excluded_categories=excluded_categories,
        attributes=[
            AttributeFilter(name=name, values=[values] if isinstance(values, str) else values)
            for name, values in (attributes or {}).items()
        ],
        ranges=[RangeFilter(name=name, min=low, max=high) for name, (low, high) in (ranges or {}).items()],
    )
