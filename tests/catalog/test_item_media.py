"""An item's media are limited, kept as hashes, and part of its content hash."""

import base64
import json
from dataclasses import replace
from hashlib import blake2b

import pytest

from catalog.errors import BadRecord
from catalog.items.item_check import check
from catalog.items.items import Item, decode, from_proto
from catalog.items.text import content_hash
from recstream.v1.item_pb2 import Attribute, Media
from recstream.v1.item_pb2 import Item as Message

KIB = 1024


def message(*contents: bytes, **fields: object) -> Message:
    media = [Media(modality="image", content=content, content_type="image/png") for content in contents]
    return Message(item_id="a", title="T", media=media, **fields)  # type: ignore[arg-type]


def digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (message(*(bytes([n]) for n in range(5))), "media"),
        (message(b"x" * (512 * KIB + 1)), "media[0].content"),
        (message(b"x" * 500 * KIB, b"y" * 500 * KIB), "media"),
        (message(b"x", b"x"), "media[1]"),
        (message(b"x", b""), "media[1].content"),
        (Message(item_id="a", media=[Media(modality="Image", content=b"x")]), "media[0].modality"),
        (Message(item_id="a", media=[Media(content=b"x")]), "media[0].modality"),
        (
            Message(item_id="a", media=[Media(modality="image", content=b"x", content_type="é" * 65)]),
            "media[0].content_type",
        ),
    ],
)
def test_a_problem_with_media_names_the_field(item: Message, field: str) -> None:
    assert [name for name, _ in check(item)] == [field]


def test_the_largest_item_fits_into_a_record() -> None:
    item = message(b"x" * 512 * KIB, b"y" * 256 * KIB)
    assert check(item) == []
    attributes = {f"{n:0256}": Attribute(texts=["v" * 1010, "w" * 20]) for n in range(97)}
    item.MergeFrom(
        Message(
            title="t" * 4095,
            description="d" * 32_768,
            categories=[f"{n:0256}" for n in range(64)],
            attributes=attributes,
        )
    )
    assert check(item) == []
    assert item.ByteSize() < 1_048_576


def test_an_item_without_contents_keeps_its_content_hash() -> None:
    whole = from_proto(message(b"one", b"two"))
    kept = whole.without_contents()
    assert [m.content for m in kept.media] == [b"", b""]
    assert kept.content_hash(()) == whole.content_hash(()) == whole.embedded_hash(())
    assert kept.embedded_hash(()) == Item("a", "T").content_hash(())
    answered = kept.to_proto()
    assert [m.content_hash for m in answered.media] == [digest(b"one"), digest(b"two")]
    assert answered.media[0].content_type == "image/png"
    assert replace(kept, withdrawn=True).content_hash(()) == whole.content_hash(())
    # Without contents the item is valid in the log, but cannot be put.
    assert decode(b"a", answered.SerializeToString()) == kept
    assert [name for name, _ in check(answered)] == ["media[0].content", "media[1].content"]


def test_a_hash_that_comes_with_its_content_is_ignored() -> None:
    item = Message(item_id="a", media=[Media(modality="image", content=b"x", content_hash=b"y" * 16)])
    assert check(item) == [] and from_proto(item).media[0].content_hash == digest(b"x")


@pytest.mark.parametrize("stored", [b"", b"short", b"x" * 17])
def test_a_stored_item_needs_a_whole_hash(stored: bytes) -> None:
    item = Message(item_id="a", media=[Media(modality="image", content_hash=stored)])
    with pytest.raises(BadRecord, match=r"media\[0\]"):
        decode(b"a", item.SerializeToString())


def test_the_hash_depends_on_media_their_order_and_modality() -> None:
    hashes = {
        from_proto(message(*contents)).content_hash(())
        for contents in ((b"1",), (b"2",), (b"1", b"2"), (b"2", b"1"), ())
    }
    other = Message(item_id="a", title="T", media=[Media(modality="sound", content=b"1")])
    assert len(hashes | {from_proto(other).content_hash(())}) == 6
    assert Item("a", "T").content_hash(()) == content_hash("T") == digest(b"T")


def test_media_are_read_from_json() -> None:
    value = {"item_id": "a", "media": [{"modality": "image", "content": base64.b64encode(b"png").decode()}]}
    assert decode(b"a", json.dumps(value).encode()).media[0].content == b"png"
