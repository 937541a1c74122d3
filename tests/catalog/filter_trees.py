"""Random filters, what they say of an item by the letter of the contract, and how they are written as text."""

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from catalog.filters.filter_text import _WORD
from catalog.items.items import Item
from recstream.v1.filter_pb2 import Filter, FilterList, ItemIds, RangeFilter, TextFilter

Trees = st.SearchStrategy[Filter]


def trees(
    fields: st.SearchStrategy[str],
    attributes: st.SearchStrategy[str],
    texts: st.SearchStrategy[str],
    numbers: st.SearchStrategy[float],
    ids: st.SearchStrategy[str],
) -> Trees:
    """Filters of every kind of condition, with lists of at least two filters.

    Args:
        fields: Names of fields that have texts.
        attributes: Names of fields that may have numbers.
        texts, numbers: Values.
        ids: Ids of items.
    """
    several = st.lists(texts, min_size=1, max_size=3)
    ends = st.tuples(numbers, numbers).map(sorted)
    leaves = st.one_of(
        st.builds(lambda field, values: Filter(text=TextFilter(field=field, values=values)), fields, several),
        st.builds(lambda field, low: Filter(range=RangeFilter(field=field, min=low)), attributes, numbers),
        st.builds(lambda field, high: Filter(range=RangeFilter(field=field, max=high)), attributes, numbers),
        st.builds(
            lambda field, both: Filter(range=RangeFilter(field=field, min=both[0], max=both[1])),
            attributes,
            ends,
        ),
        st.builds(lambda field: Filter(exists=field), fields | attributes),
        st.lists(ids, min_size=1, max_size=3).map(lambda some: Filter(item_ids=ItemIds(values=some))),
    )

    def inner(children: Trees) -> Trees:
        lists = st.lists(children, min_size=2, max_size=3)
        return st.one_of(
            lists.map(lambda some: Filter(all=FilterList(filters=some))),
            lists.map(lambda some: Filter(any=FilterList(filters=some))),
            children.map(lambda one: Filter(exclude=one)),
        )

    return st.recursive(leaves, inner, max_leaves=8)


def naive(item: Item, wanted: Filter) -> bool:
    """Whether the item matches, read from the contract."""
    values: dict[str, Sequence[str] | Sequence[float]] = {
        "category": item.categories,
        "domain": [item.domain] if item.domain else [],
        **{f"attributes.{name}": texts for name, texts in item.texts.items()},
        **{f"attributes.{name}": numbers for name, numbers in item.numbers.items()},
    }
    match wanted.WhichOneof("condition"):
        case "all":
            return all(naive(item, each) for each in wanted.all.filters)
        case "any":
            return any(naive(item, each) for each in wanted.any.filters)
        case "exclude":
            return not naive(item, wanted.exclude)
        case "text":
            return any(value in wanted.text.values for value in values.get(wanted.text.field, []))
        case "range":
            low = wanted.range.min if wanted.range.HasField("min") else -math.inf
            high = wanted.range.max if wanted.range.HasField("max") else math.inf
            found = values.get(wanted.range.field, [])
            return any(low <= value <= high for value in found if isinstance(value, float))
        case "exists":
            return bool(values.get(wanted.exists))
        case _:
            return item.item_id in wanted.item_ids.values


def written(wanted: Filter) -> str:
    """The filter as text. A list is in parentheses, except at the top."""
    match wanted.WhichOneof("condition"):
        case "all":
            return " AND ".join(map(_inner, wanted.all.filters))
        case "any":
            return " OR ".join(map(_inner, wanted.any.filters))
        case "exclude":
            return f"NOT {_inner(wanted.exclude)}"
        case "text":
            return f"{_field(wanted.text.field)} = {_values(wanted.text.values)}"
        case "range":
            return _range(wanted.range)
        case "exists":
            return f"{_field(wanted.exists)}:*"
        case _:
            return f"item_id = {_values(wanted.item_ids.values)}"


def _inner(wanted: Filter) -> str:
    text = written(wanted)
    return f"({text})" if wanted.WhichOneof("condition") in ("all", "any", "exclude") else text


def _range(bounds: RangeFilter) -> str:
    field = _field(bounds.field)
    if not bounds.HasField("max"):
        return f"{field} >= {bounds.min!r}"
    if not bounds.HasField("min"):
        return f"{field} <= {bounds.max!r}"
    if repr(bounds.min) == repr(bounds.max):
        return f"{field} = {bounds.min!r}"
    return f"between({field}, {bounds.min!r}, {bounds.max!r})"


def _field(field: str) -> str:
    name = field.removeprefix("attributes.")
    if name == field or _WORD.fullmatch(name):
        return field
    return f"attributes.{_quoted(name)}"


def _values(values: Sequence[str]) -> str:
    return _quoted(values[0]) if len(values) == 1 else f"({' OR '.join(map(_quoted, values))})"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
