"""A request's filter is checked before it is used, and each problem names its place."""

import math

import pytest

from catalog.filters.filter_check import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES
from catalog.filters.filter_text import MAX_TEXT_BYTES
from recstream.v1.filter_pb2 import Filter, FilterList, ItemIds, RangeFilter, TextFilter
from recstream.v1.recommendation_service_pb2 import RecommendRequest, SimilarItemsRequest
from server.requests.validation import Check

# Field 99 with the number 1, as a later release may send it.
UNKNOWN = b"\x98\x06\x01"
ONE = Filter(exists="category")


def all_of(*filters: Filter) -> Filter:
    return Filter(all=FilterList(filters=filters))


def in_range(field: str, **ends: float) -> Filter:
    return Filter(range=RangeFilter(field=field, **ends))


def text(field: str, *values: str) -> Filter:
    return Filter(text=TextFilter(field=field, values=values))


def nested(levels: int) -> Filter:
    wanted = ONE
    for _ in range(levels - 1):
        wanted = Filter(exclude=wanted)
    return wanted


def later(wanted: Filter, part: str = "") -> Filter:
    """The filter with an unknown field in it, or in this part of it."""
    found = Filter()
    found.CopyFrom(wanted)
    (getattr(found, part) if part else found).MergeFromString(UNKNOWN)
    return found


def violations(request: RecommendRequest | SimilarItemsRequest) -> list[tuple[str, str]]:
    check = Check()
    check.filter(request)
    return [(violation.field, violation.problem) for violation in check.violations]


@pytest.mark.parametrize(
    ("wanted", "path", "says"),
    [
        (Filter(), "", "no condition"),
        (Filter(all=FilterList()), ".all", "empty"),
        (Filter(any=FilterList()), ".any", "empty"),
        (all_of(ONE, Filter()), ".all[1]", "no condition"),
        (Filter(exclude=Filter()), ".exclude", "no condition"),
        (text("category"), ".text.values", "empty"),
        (text("brand", "x"), ".text.field", "'brand'"),
        (text("attributes. ", "x"), ".text.field", "no attribute"),
        (text(f"attributes.{'x' * 257}", "x"), ".text.field", "256"),
        (text("category", "x" * 257), ".text.values[0]", "256"),
        (text("attributes.a", "ok", "x" * 1025), ".text.values[1]", "1024"),
        (Filter(exists=""), ".exists", "must be"),
        (Filter(item_ids=ItemIds()), ".item_ids.values", "empty"),
        (Filter(item_ids=ItemIds(values=["x" * 257])), ".item_ids.values[0]", "256"),
        (in_range("attributes.p", min=2, max=1), ".range", "min 2 above max 1"),
        (in_range("attributes.p", min=math.nan), ".range", "not a number"),
        (in_range("attributes.p", max=math.nan), ".range", "not a number"),
        (in_range("attributes.p"), ".range", "neither"),
        (in_range("category", max=1), ".range.field", "attributes.NAME"),
        (all_of(ONE, Filter(any=FilterList(filters=[in_range("attributes.p")]))), ".all[1].any[0].range", ""),
        (nested(MAX_DEPTH + 1), ".exclude" * MAX_DEPTH, "deeper than 16"),
        (all_of(*[ONE] * MAX_CONDITIONS), "", "more than 256"),
        (all_of(*[ONE] * 100_000), "", "more than 256"),
        (all_of(text("category", *["x"] * 600), Filter(item_ids=ItemIds(values=["x"] * 401))), "", "1001"),
    ],
)
def test_the_problem_of_an_invalid_filter_names_its_place(wanted: Filter, path: str, says: str) -> None:
    [(field, problem)] = violations(RecommendRequest(filter=wanted))
    assert field == f"filter{path}" and says in problem


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (later(Filter()), ""),
        (later(ONE), ""),
        (later(all_of(ONE), "all"), ".all"),
        (later(Filter(any=FilterList(filters=[ONE])), "any"), ".any"),
        (later(text("category", "x"), "text"), ".text"),
        (later(in_range("attributes.p", min=1), "range"), ".range"),
        (later(Filter(item_ids=ItemIds(values=["x"])), "item_ids"), ".item_ids"),
        (all_of(ONE, Filter(exclude=later(ONE))), ".all[1].exclude"),
    ],
)
def test_a_part_that_a_later_release_knows_is_refused_wherever_it_is(wanted: Filter, path: str) -> None:
    request = RecommendRequest.FromString(RecommendRequest(filter=wanted).SerializeToString())
    assert violations(request) == [(f"filter{path}", "has field 99, which this server does not know")]


def test_a_filter_at_its_limits_is_valid() -> None:
    for wanted in (
        nested(MAX_DEPTH),
        all_of(*[ONE] * (MAX_CONDITIONS - 1)),
        text("attributes.color", *["x"] * MAX_VALUES),
        in_range("attributes.price", min=-math.inf, max=1),
        all_of(text("category", "a"), in_range("attributes.p", max=3)),
    ):
        assert violations(RecommendRequest(filter=wanted)) == []


def test_a_filter_may_come_as_text() -> None:
    check = Check()
    wanted = check.filter(SimilarItemsRequest(filter_text="category = a"))
    assert wanted == text("category", "a") and not check.violations
    assert check.filter(SimilarItemsRequest()) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("category =", "cannot be read: column 11: expected a value, found the end"),
        ("between(attributes.p, 2, 1)", "has min 2 above max 1 (filter.range)"),
        (f"attributes.{'x' * 257}:*", "has a name of 257 bytes; the limit is 256 (filter.exists)"),
        (f"category = {'x' * MAX_TEXT_BYTES}", f"is {MAX_TEXT_BYTES + 11} bytes long, the limit is 65536"),
    ],
)
def test_the_problem_of_a_text_names_its_place(given: str, says: str) -> None:
    assert violations(RecommendRequest(filter_text=given)) == [("filter_text", says)]


def test_a_filter_and_a_text_are_refused_together() -> None:
    request = RecommendRequest(filter=ONE, filter_text="category:*")
    assert violations(request) == [("filter_text", "is given beside filter; give one of the two")]
