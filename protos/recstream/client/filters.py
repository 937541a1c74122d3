"""Filters, as one writes them in Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from recstream.v1.filter_pb2 import AttributeFilter, Filter, RangeFilter

#: The ends of a range, included; None: open.
Range = tuple[float | None, float | None]


def where(
    *,
    categories: Iterable[str] = (),
    excluded_categories: Iterable[str] = (),
    attributes: Mapping[str, str | Iterable[str]] | None = None,
    ranges: Mapping[str, Range] | None = None,
) -> Filter:
    """Which items a list may hold; every part that is given must match.

    Args:
        categories: at least one of these.
        excluded_categories: none of these.
        attributes: name to the value, or to the values of which one must match.
        ranges: name of a number to (from, to), ends included, None for an open end.

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
