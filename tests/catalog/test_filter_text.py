"""A filter written as text is the filter that it says."""

import contextlib
import math
import re
from pathlib import Path

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import BadFilterText
from catalog.filters.filter_check import problems
from catalog.filters.filter_text import parse
from recstream.v1.filter_pb2 import Filter, RangeFilter, TextFilter
from recstream.v1.recommendation_service_pb2 import RecommendRequest
from tests.catalog.filter_trees import trees, written

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
attributes = anything.filter(str.strip).map(lambda name: f"attributes.{name}")
any_filter = trees(
    fields=st.sampled_from(["category", "domain"]) | attributes,
    attributes=attributes,
    texts=anything,
    numbers=st.floats(allow_nan=False, allow_infinity=False),
    ids=anything,
)


@given(any_filter)
def test_a_filter_written_as_text_is_read_as_the_same_filter(wanted: Filter) -> None:
    assert parse(written(wanted)) == wanted


pieces = st.sampled_from(
    [*"ab1 ()\"'\\,:=<>!-.*", "AND ", "OR ", "NOT ", "attributes.a ", "category", "between("]
)


@given(st.lists(pieces, max_size=20).map("".join) | anything)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadFilterText):
        assert parse(text).WhichOneof("condition")


@given(any_filter, st.data())
def test_what_breaks_a_text_is_named_by_its_column(wanted: Filter, data: st.DataObject) -> None:
    text = written(wanted)
    kept = data.draw(st.integers(0, len(text)))
    broken = f"{text[:kept]} ="
    with pytest.raises(BadFilterText) as refused:
        parse(broken)
    assert 1 <= refused.value.column <= len(broken) + 1


def says(text: str) -> Filter:
    """The filter that this text format says."""
    return text_format.Parse(text, Filter())


def test_or_binds_tighter_than_and() -> None:
    one, two, three = (f'text {{ field: "category" values: "{name}" }}' for name in "abc")
    either = f"any {{ filters {{ {two} }} filters {{ {three} }} }}"
    wanted = says(f"all {{ filters {{ {one} }} filters {{ {either} }} }}")
    assert parse("category = a AND category = b OR category = c") == wanted
    assert parse("category = a AND (category = b OR category = c)") == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('category = "shoes"', 'text { field: "category" values: "shoes" }'),
        ("category:shoes", 'text { field: "category" values: "shoes" }'),
        ("category = 1997", 'text { field: "category" values: "1997" }'),
        ("domain=('a' OR b)", 'text { field: "domain" values: "a" values: "b" }'),
        ("attributes.year = 1997", 'range { field: "attributes.year" min: 1997 max: 1997 }'),
        ('attributes.year = "1997"', 'text { field: "attributes.year" values: "1997" }'),
        ("attributes.year = 1997a", 'text { field: "attributes.year" values: "1997a" }'),
        ("attributes.price <= -1.5e2", 'range { field: "attributes.price" max: -150 }'),
        ("between(attributes.price, 1, 2)", 'range { field: "attributes.price" min: 1 max: 2 }'),
        ("attributes.size:*", 'exists: "attributes.size"'),
        ('attributes.size = "*"', 'text { field: "attributes.size" values: "*" }'),
        ("item_id = x", 'item_ids { values: "x" }'),
        ('-attributes.a.b:"x y"', 'exclude { text { field: "attributes.a.b" values: "x y" } }'),
        ("NOT(domain:*)", 'exclude { exists: "domain" }'),
        ('domain != "a"', 'exclude { text { field: "domain" values: "a" } }'),
        ("attributes.'a b' = -x", 'text { field: "attributes.a b" values: "-x" }'),
        (r'domain = "a\"b\\c\n"', r'text { field: "domain" values: "a\"b\\c\n" }'),
    ],
)
def test_each_form_says_what_it_says(text: str, wanted: str) -> None:
    assert parse(text) == says(wanted)
    assert problems(parse(text)) == []


def test_the_text_and_the_message_of_the_documentation_say_the_same() -> None:
    page = (Path(__file__).parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")
    text = next(line for line in page.splitlines() if line.startswith("    category ="))
    message = next(part for part in page.split("\n\n") if part.startswith('    {"filter"'))
    request = json_format.Parse(message, RecommendRequest())
    assert parse(text) == request.filter
    for form in re.findall(r"^\| `(.*?)`", page, re.MULTILINE):
        if form not in ("NOT a", "a AND b"):
            assert parse(form)


@pytest.mark.parametrize(("comparator", "number"), [("<", 20.0), (">", -0.1), ("<", 0.0)])
def test_a_strict_comparison_leaves_out_its_number_and_no_other(comparator: str, number: float) -> None:
    bounds = parse(f"attributes.price {comparator} {number!r}").range
    if comparator == "<":
        assert bounds.max < number and math.nextafter(bounds.max, math.inf) == number
    else:
        assert bounds.min > number and math.nextafter(bounds.min, -math.inf) == number


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "a condition, such as category = shoes, found the end"),
        ("category = a AND", 17, "a condition, such as category = shoes, found the end"),
        ("AND category = a", 1, "a condition, such as category = shoes, found `AND`"),
        ("brand = a", 1, "category, domain, item_id or attributes.NAME, found `brand`"),
        ("attributes. = a", 1, "category, domain, item_id or attributes.NAME, found `attributes.`"),
        ("category", 9, "a comparator, such as =, : or <=, found the end"),
        ("category = a and domain = b", 14, "AND, OR or the end, found `and`"),
        ("category = a domain = b", 14, "AND, OR or the end, found `domain`"),
        ("category = a)", 13, "AND, OR or the end, found `)`"),
        ("category = “a”", 12, "a value, or straight quotes around it, found `“a”`"),
        ("category = `a`", 12, "a value, or straight quotes around it, found ``a``"),
        ("(category = a", 14, "AND, OR or `)`, found the end"),
        ("category = (a OR", 17, "a value, found the end"),
        ("category = (a b)", 15, "OR or `)`, found `b`"),
        ("category = *", 12, "a value, found `*`"),
        ("category = OR", 12, "a value, found `OR`"),
        ('category = "a', 12, "a closing quote after this one, found the end"),
        (r'category = "a\q"', 14, r"an escape \", \', \\, \n, \r or \t, found `\q`"),
        ("category < 3", 10, "=, != or : after category, which has no numbers, found `<`"),
        ("attributes.a < b", 16, "a number, found `b`"),
        ('attributes.a < "3"', 16, 'a number, found `"`'),
        ("attributes.a = 1e999", 16, "a number of at most 1.8e308, found `1e999`"),
        ("between(category, 1, 2)", 9, "attributes.NAME, found `category`"),
        ("between(attributes.a, 1)", 24, "`,` and the largest number, found `)`"),
        ("item_id:*", 1, "a field that an item may lack, found `item_id`"),
        ("NOT NOT category = a", 5, "a condition, such as category = shoes, found `NOT`"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_with_the_column_and_what_was_expected(
    text: str, column: int, expected: str
) -> None:
    with pytest.raises(BadFilterText) as refused:
        parse(text)
    assert (refused.value.column, refused.value.problem) == (column, f"expected {expected}")


def test_a_text_that_nests_without_end_is_refused() -> None:
    with pytest.raises(BadFilterText, match="at most 32 parentheses"):
        parse("(" * 60_000)
    with pytest.raises(BadFilterText, match="at most 32 parentheses"):
        parse("NOT (" * 10_000)


@pytest.mark.parametrize(("price", "matches"), [(math.nextafter(20, 0), True), (20.0, False)])
def test_a_strict_range_is_judged_to_the_last_bit(price: float, matches: bool) -> None:
    bounds = parse("attributes.price < 20").range
    assert (price <= bounds.max) is matches


def test_a_number_and_a_text_may_be_wanted_together() -> None:
    wanted = parse('attributes.size = (42 OR "42")')
    assert [part.WhichOneof("condition") for part in wanted.any.filters] == ["text", "range"]
    assert wanted.any.filters[0] == Filter(text=TextFilter(field="attributes.size", values=["42"]))
    assert wanted.any.filters[1] == Filter(range=RangeFilter(field="attributes.size", min=42, max=42))
