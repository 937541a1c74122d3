"""Items as they come from the topic."""

import json
import math
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from catalog.errors import BadRecord
from catalog.items.items import Item, check, decode, from_proto
from catalog.items.text import plain
from profiles.times import timestamp
from recstream.v1 import item_pb2
from recstream.v1.item_pb2 import Attribute

ODD_IDS = ["é", "e\u0301", "🛒", "\u202emit", "a/b", "a:b", "{x}", "a\0b", "x", "ä" * 128]


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_odd_ids_come_back_byte_for_byte(item_id: str) -> None:
    message = item_pb2.Item(item_id=item_id)
    assert decode(item_id.encode(), message.SerializeToString()).item_id == item_id


def test_composed_and_decomposed_are_two_ids() -> None:
    assert Item("é") != Item("e\u0301")


text_attributes = st.lists(st.text(max_size=8), min_size=1, max_size=3, unique=True).map(
    lambda texts: item_pb2.Attribute(texts=texts)
)
number_attributes = st.lists(
    st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=3, unique=True
).map(lambda numbers: item_pb2.Attribute(numbers=numbers))


@given(
    st.builds(
        item_pb2.Item,
        item_id=st.text(min_size=1, max_size=20).filter(str.strip),
        title=st.text(max_size=50),
        categories=st.lists(st.text(min_size=1, max_size=8).filter(str.strip), max_size=5, unique=True),
        attributes=st.dictionaries(
            st.text(min_size=1, max_size=8).filter(str.strip), text_attributes | number_attributes, max_size=4
        ),
        withdrawn=st.booleans(),
        expires_at=st.none() | st.integers(0, 253_402_300_799_999).map(timestamp),
        published_at=st.none() | st.integers(-62_135_596_800_000, 253_402_300_799_999).map(timestamp),
    )
)
def test_an_item_survives_protobuf_and_json(message: item_pb2.Item) -> None:
    key = message.item_id.encode()
    item = decode(key, message.SerializeToString())
    assert item.to_proto() == message
    assert decode(key, json_format.MessageToJson(message).encode()) == item


def texts(*values: str) -> Attribute:
    return Attribute(texts=values)


def numbers(*values: float) -> Attribute:
    return Attribute(numbers=values)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"item_id": "  "}, "item_id", "blank"),
        ({"item_id": "x" * 257}, "item_id", "256"),
        ({"description": "x" * 32_769}, "description", "32768"),
        ({"title": "ü" * 2049}, "title", "4096"),
        ({"categories": [str(i) for i in range(65)]}, "categories", "64"),
        ({"categories": ["a", " "]}, "categories[1]", "blank"),
        ({"attributes": {"story": texts("x" * 1025)}}, "attributes[story].texts[0]", "1024"),
        ({"attributes": {"tags": texts(*map(str, range(65)))}}, "attributes[tags].texts", "64"),
        ({"attributes": {"sizes": numbers(*range(65))}}, "attributes[sizes].numbers", "64"),
        ({"attributes": {str(i): texts("") for i in range(129)}}, "attributes", "128"),
        ({"attributes": {str(i): texts(*["x" * 1024] * 2) for i in range(64)}}, "attributes", "131072"),
        ({"attributes": {" ": texts("a")}}, "attributes", "blank"),
        ({"attributes": {"x" * 257: texts("a")}}, "attributes", "256"),
        ({"attributes": {"price": numbers(1, math.nan)}}, "attributes[price].numbers[1]", "finite"),
        ({"attributes": {"price": numbers(-math.inf)}}, "attributes[price].numbers[0]", "finite"),
        (
            {"attributes": {"size": Attribute(texts=["42"], numbers=[42])}},
            "attributes[size]",
            "one of the two",
        ),
        ({"expires_at": Timestamp(seconds=-1)}, "expires_at", "1970"),
        ({"expires_at": Timestamp(seconds=253_402_300_800)}, "expires_at", "9999"),
        ({"expires_at": Timestamp(nanos=-1)}, "expires_at", "nanoseconds"),
        ({"published_at": Timestamp(seconds=-62_135_596_801)}, "published_at", "year 1"),
        ({"published_at": Timestamp(nanos=1_000_000_000)}, "published_at", "nanoseconds"),
    ],
)
def test_an_item_that_exceeds_a_limit_is_refused_with_the_field(
    fields: dict[str, object], field: str, says: str
) -> None:
    message = item_pb2.Item(**{"item_id": "a", **fields})  # type: ignore[arg-type]
    found = dict(check(message))
    assert list(found) == [field] and says in found[field]
    with pytest.raises(BadRecord):
        decode(message.item_id.encode(), message.SerializeToString())


def test_the_item_of_the_documentation_is_valid() -> None:
    page = (Path(__file__).parents[2] / "docs" / "producers.md").read_text(encoding="utf-8")
    example = page[page.index('    {"itemId"') :].strip()
    item = decode(b"shoe-17", example.encode())
    assert item.texts["colors"] == ("red", "blue") and item.numbers["price"] == (89.5,)
    assert item.expires_at_ms == 1_896_091_200_000


def test_publication_dates_before_1970_are_valid() -> None:
    item = item_pb2.Item(item_id="nosferatu", published_at=timestamp(-1_514_764_800_000))
    assert check(item) == [] and from_proto(item).published_at_ms == -1_514_764_800_000


def test_an_item_in_json_has_values_in_lists_and_times_in_rfc_3339() -> None:
    value = (
        b'{"itemId": "a", "attributes": {"colors": {"texts": ["red", "blue", "red"]}, "price": {"numbers": [12.5]}, '
        b'"none": {}}, "expiresAt": "2030-01-31T12:00:00.500Z", "publishedAt": "1969-12-31T23:59:59Z"}'
    )
    assert decode(b"a", value) == Item(
        "a",
        texts={"colors": ("red", "blue")},
        numbers={"price": (12.5,)},
        expires_at_ms=1_896_091_200_500,
        published_at_ms=-1000,
    )


@pytest.mark.parametrize(
    "value",
    [
        b"\x0a\x02\xae\xff",
        b"\xff\xff\xff",
        b"{",
        b'{"item_id": "a", "price": 3, "title": 3}',
        b'{"item_id": "a", "item_id": "a", "price": 3}',
        b'{"item_id": "\\ud800"}',
        b'{"item_id": "\xff"}',
        b"{" * 100_000,
        b"",
    ],
)
def test_an_unreadable_item_is_refused(value: bytes) -> None:
    with pytest.raises(BadRecord) as caught:
        decode(b"a", value)
    assert len(caught.value.reason) <= 500


def test_an_unknown_field_of_an_item_in_json_is_passed_over_and_named_once() -> None:
    with capture_logs() as logs:
        for title in ("Trail shoe", "Trail shoe 2"):
            value = json.dumps({"item_id": "a", "title": title, "colour of the sole": {"title": 3}}).encode()
            assert decode(b"a", value) == Item("a", title)
    assert [line["field"] for line in logs if line["event"] == "unknown_field"] == ["colour of the sole"]


def test_a_key_that_names_another_item_is_refused() -> None:
    with pytest.raises(BadRecord, match="key"):
        decode(b"b", item_pb2.Item(item_id="a").SerializeToString())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("one<br>two<br/>three", "one two three"),
        ('<a href="x">link</a> &lt;b&gt;', "link <b>"),
        ("a < b and <3", "a < b and <3"),
        ("  many\n\tspaces\0 ", "many spaces"),
        ("<" * 30_000 + "a", "<" * 30_000 + "a"),
    ],
)
def test_markup_is_dropped_and_entities_are_decoded_once(raw: str, text: str) -> None:
    assert plain(raw) == text


def test_items_with_equal_text_have_equal_hashes_and_others_do_not() -> None:
    attributes = {"a": ("1", "3"), "b": ("2",)}
    plainly = Item("a", "Tom & Jerry", categories=("Comedy",), texts=attributes)
    marked_up = Item(
        "b", "Tom &amp; Jerry<br>", categories=("Comedy",), texts=dict(reversed(attributes.items()))
    )
    assert plainly.text("ab") == "Tom & Jerry. Comedy. a: 1, 3. b: 2"
    assert plainly.content_hash("ab") == marked_up.content_hash("ab")
    assert len(plainly.content_hash("ab")) == 16
    assert plainly.content_hash("ab") != Item("a", "Tom & Jerry").content_hash("ab")


def test_what_the_model_does_not_read_does_not_change_the_content_hash() -> None:
    bare = Item("a", "T", texts={"brand": ("Acme",)})
    full = Item(
        "a", "T", texts={"brand": ("Acme",), "stock": ("few",)}, withdrawn=True, numbers={"price": (3.0,)}
    )
    assert full.text(["brand"]) == "T. brand: Acme"
    assert full.content_hash(["brand"]) == bare.content_hash(["brand"])
    assert full.content_hash(["brand", "stock"]) != bare.content_hash(["brand", "stock"])
