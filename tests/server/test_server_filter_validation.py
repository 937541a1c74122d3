"""A request's filter is checked before it is used, and each problem names its field."""

import math

import pytest

from recstream.v1 import filter_pb2
from server.requests.validation import MAX_FILTER_PARTS, Check

TOO_MANY = MAX_FILTER_PARTS + 1
Attribute, Filter, Range = filter_pb2.AttributeFilter, filter_pb2.Filter, filter_pb2.RangeFilter


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Filter(categories=["x"] * TOO_MANY), "categories"),
        (Filter(excluded_categories=["x"] * TOO_MANY), "excluded_categories"),
        (Filter(attributes=[Attribute(name="brand")]), "attributes[0].values"),
        (Filter(attributes=[Attribute(name="brand", values=["x"] * TOO_MANY)]), "attributes[0].values"),
        (Filter(attributes=[Attribute(values=["x"])]), "attributes[0].name"),
        (Filter(ranges=[Range(name="p", min=2, max=1)]), "ranges[0]"),
        (Filter(ranges=[Range(name="p", min=math.nan)]), "ranges[0]"),
        (Filter(ranges=[Range(name="p", max=math.nan)]), "ranges[0]"),
        (Filter(ranges=[Range(name="p")]), "ranges[0]"),
        (Filter(ranges=[Range(max=1)]), "ranges[0].name"),
    ],
)
def test_the_problem_of_an_invalid_filter_names_its_field(wanted: filter_pb2.Filter, field: str) -> None:
    check = Check()
    check.filter(wanted)
    assert [violation.field for violation in check.violations] == [f"filter.{field}"]


def test_a_valid_filter_has_no_problems() -> None:
    check = Check()
    check.filter(Filter(categories=["a"], ranges=[Range(name="p", max=3)]))
    assert check.violations == []
