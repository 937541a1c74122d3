"""Items as they come from the topic."""

import math

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import BadRecord
from catalog.items.items import Item, check, decode
from catalog.items.text import plain
from recstream.v1 import item_pb2

ODD_IDS = ["é", "e\u0301", "🛒", "\u202emit", "a/b", "a:b", "{x}", "a\0b", "x", "ä" * 128]


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_odd_ids_come_back_byte_for_byte(item_id: str) -> None:
    message = item_pb2.Item(item_id=item_id)
    assert decode(item_id.encode(), message.SerializeToString()).item_id == item_id


def test_composed_and_decomposed_are_two_ids() -> None:
    assert Item("é") != Item("e\u0301")


@given(
    st.builds(
        item_pb2.Item,
        item_id=st.text(min_size=1, max_size=20).filter(str.strip),
        title=st.text(max_size=50),
        categories=st.lists(st.text(min_size=1, max_size=8).filter(str.strip), max_size=5, unique=True),
        attributes=st.dictionaries(
            st.text(min_size=1, max_size=8).filter(str.strip), st.text(max_size=8), max_size=4
        ),
        numbers=st.dictionaries(
            st.text(min_size=1, max_size=8).filter(str.strip),
            st.floats(-1e12, 1e12, allow_nan=False),
            max_size=4,
        ),
        withdrawn=st.booleans(),
        expires_at_ms=st.sampled_from([0, 1_700_000_000_000]),
        published_at_ms=st.integers(-(10**12), 10**12),
    )
)
def test_an_item_survives_protobuf_and_json(message: item_pb2.Item) -> None:
    key = message.item_id.encode()
    item = decode(key, message.SerializeToString())
    assert item.to_proto() == message
    assert decode(key, json_format.MessageToJson(message).encode()) == item


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"item_id": "  "}, "item_id", "blank"),
        ({"item_id": "x" * 257}, "item_id", "256"),
        ({"description": "x" * 32_769}, "description", "32768"),
        ({"title": "ü" * 2049}, "title", "4096"),
        ({"categories": [str(i) for i in range(65)]}, "categories", "64"),
        ({"categories": ["a", " "]}, "categories[1]", "blank"),
        ({"attributes": {"story": "x" * 1_048_576}}, "attributes[story]", "1024"),
        ({"attributes": {str(i): "" for i in range(65)}}, "attributes", "64"),
        ({"numbers": {"price": math.nan}}, "numbers[price]", "finite"),
        ({"numbers": {"price": -math.inf}}, "numbers[price]", "finite"),
        ({"expires_at_ms": 1_700_000_000}, "expires_at_ms", "seconds"),
        ({"expires_at_ms": -1}, "expires_at_ms", "milliseconds"),
        ({"published_at_ms": 2**62}, "published_at_ms", "milliseconds"),
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


def test_publication_dates_before_1970_are_valid() -> None:
    assert check(item_pb2.Item(item_id="nosferatu", published_at_ms=-1_514_764_800_000)) == []


@pytest.mark.parametrize(
    "value",
    [
        b"\x0a\x02\xae\xff",
        b"\xff\xff\xff",
        b"{",
        b'{"item_id": "a", "price": 3}',
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
    plainly = Item("a", "Tom & Jerry", categories=("Comedy",), attributes={"a": "1", "b": "2"})
    marked_up = Item("b", "Tom &amp; Jerry<br>", categories=("Comedy",), attributes={"b": "2", "a": "1"})
    assert plainly.text() == "Tom & Jerry. Comedy. a: 1. b: 2"
    assert plainly.content_hash() == marked_up.content_hash()
    assert len(plainly.content_hash()) == 16
    assert plainly.content_hash() != Item("a", "Tom & Jerry").content_hash()


def test_fields_that_only_filters_use_do_not_change_the_content_hash() -> None:
    assert (
        Item("a", "T", withdrawn=True, numbers={"price": 3}).content_hash() == Item("a", "T").content_hash()
    )
