"""The limits of a filter, and the check against them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]  # no stub has it

from catalog.filters.conditions import ATTRIBUTE_PREFIX, CATEGORY, DOMAIN
from catalog.items.item_check import MAX_ID_BYTES, MAX_NAME_BYTES, MAX_VALUE_BYTES
from recstream.v1 import filter_pb2

MAX_DEPTH: Final = 16
MAX_CONDITIONS: Final = 256
MAX_VALUES: Final = 1_000
"""Most texts and ids of all conditions together."""

_CONDITIONS: Final = ", ".join(
    field.name for field in filter_pb2.Filter.DESCRIPTOR.oneofs_by_name["condition"].fields
)


def problems(wanted: filter_pb2.Filter, path: str = "filter") -> list[tuple[str, str]]:
    """Returns the problems of a filter as (path, problem). Empty: the filter is valid.

    A path leaves out the field `filters` of a list: `filter.all[1].range`.

    Args:
        wanted: The filter.
        path: The path of the filter in its request.
    """
    conditions = list(_walk(wanted, path, 1))
    # What lies beyond the limits is not read.
    if len(conditions) > MAX_CONDITIONS:
        return [(path, f"has more than {MAX_CONDITIONS} conditions")]
    found = [problem for place, each, depth in conditions for problem in _problems(place, each, depth)]
    values = sum(len(each.text.values) + len(each.item_ids.values) for _, each, _ in conditions)
    if values > MAX_VALUES:
        found.append((path, f"has {values} values in all its conditions; the limit is {MAX_VALUES}"))
    return found


def _walk(wanted: filter_pb2.Filter, path: str, depth: int) -> Iterator[tuple[str, filter_pb2.Filter, int]]:
    """The conditions of the tree with their paths and depths, from the root, one more than the limit at most."""
    left: list[tuple[str, filter_pb2.Filter, int]] = [(path, wanted, depth)]
    count = 0
    while left and count <= MAX_CONDITIONS:
        place, each, depth = left.pop()
        count += 1
        yield place, each, depth
        if depth > MAX_DEPTH:
            continue
        match each.WhichOneof("condition"):
            case "all" | "any" as kind:
                filters = (each.all if kind == "all" else each.any).filters
                children = [
                    (f"{place}.{kind}[{i}]", child, depth + 1)
                    for i, child in enumerate(filters[: MAX_CONDITIONS + 1])
                ]
                left += reversed(children)
            case "exclude":
                left.append((f"{place}.exclude", each.exclude, depth + 1))


def _problems(path: str, wanted: filter_pb2.Filter, depth: int) -> Iterable[tuple[str, str]]:
    if depth > MAX_DEPTH:
        yield path, f"is deeper than {MAX_DEPTH} levels"
        return
    kind = wanted.WhichOneof("condition")
    unknown = list(_unknown(path, wanted))
    yield from unknown
    if kind is None:
        if not unknown:
            yield path, f"has no condition; give it one of {_CONDITIONS}"
        return
    path = f"{path}.{kind}"
    match kind:
        case "all" | "any":
            filters = wanted.all if kind == "all" else wanted.any
            yield from _unknown(path, filters)
            if not filters.filters:
                yield path, "is empty; give it at least one filter in `filters`"
        case "text":
            yield from _unknown(path, wanted.text)
            if problem := _field_problem(wanted.text.field):
                yield f"{path}.field", problem
            is_attribute = wanted.text.field.startswith(ATTRIBUTE_PREFIX)
            yield from _values(path, wanted.text.values, MAX_VALUE_BYTES if is_attribute else MAX_NAME_BYTES)
        case "range":
            yield from _unknown(path, wanted.range)
            yield from _range(path, wanted.range)
        case "exists":
            if problem := _field_problem(wanted.exists):
                yield path, problem
        case "item_ids":
            yield from _unknown(path, wanted.item_ids)
            yield from _values(path, wanted.item_ids.values, MAX_ID_BYTES)


def _range(path: str, bounds: filter_pb2.RangeFilter) -> Iterable[tuple[str, str]]:
    if problem := _field_problem(bounds.field, numbers=True):
        yield f"{path}.field", problem
    ends = [getattr(bounds, end) for end in ("min", "max") if bounds.HasField(end)]
    if not ends:
        yield path, "has neither min nor max"
    if any(math.isnan(end) for end in ends):
        yield path, "has an end that is not a number"
    elif len(ends) == 2 and ends[0] > ends[1]:
        yield path, f"has min {ends[0]:g} above max {ends[1]:g}"


def _values(path: str, values: Sequence[str], limit: int) -> Iterable[tuple[str, str]]:
    if not values:
        yield f"{path}.values", "is empty; give it at least one value"
    for i, value in enumerate(values[:MAX_VALUES]):
        if len(value) * 4 > limit and (size := len(value.encode())) > limit:
            yield f"{path}.values[{i}]", f"has {size} bytes; the limit is {limit}"


def _unknown(path: str, message: Message) -> Iterable[tuple[str, str]]:
    """A part that a later release knows: without it, the filter would match other items."""
    for field in UnknownFieldSet(message):
        yield path, f"has field {field.field_number}, which this server does not know"


def _field_problem(field: str, *, numbers: bool = False) -> str:
    """What is wrong with a field. Empty: nothing. `numbers`: it must be one that can have numbers."""
    name = field.removeprefix(ATTRIBUTE_PREFIX)
    if name != field:
        if not name.strip():
            return "names no attribute after `attributes.`"
        size = len(name.encode())
        return f"has a name of {size} bytes; the limit is {MAX_NAME_BYTES}" if size > MAX_NAME_BYTES else ""
    if not numbers and field in (CATEGORY, DOMAIN):
        return ""
    kinds = "`attributes.NAME`" if numbers else "`category`, `domain` or `attributes.NAME`"
    return f"is {field[:64]!r}; it must be {kinds}"
