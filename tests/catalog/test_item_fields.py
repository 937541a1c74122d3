"""Which fields of an item a caller asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.items.item_fields import ItemFields, problems
from catalog.items.items import from_proto
from recstream.v1 import item_pb2

FIELDS = item_pb2.Item.DESCRIPTOR.fields_by_name
NAMES = st.sampled_from(sorted(FIELDS))


def whole() -> item_pb2.Item:
    item = item_pb2.Item(item_id="a", title="A", description="long", categories=["x", "y"], domain="video")
    item.attributes["price.net"].numbers.append(9)
    item.attributes["brand"].texts.append("v")
    item.expires_at.seconds, item.published_at.seconds, item.withdrawn = 7, -7, True
    item.media.add(modality="image", content_hash=b"h" * 16)
    return item


@given(st.sets(NAMES, min_size=1))
def test_what_is_asked_for_stays_as_it_is_and_all_else_is_gone(names: set[str]) -> None:
    kept = ItemFields.of(names).message(from_proto(whole()))
    for field, value in whole().ListFields():
        assert (field, value) in kept.ListFields() or field.name not in names | {"item_id"}
    assert {field.name for field, _ in kept.ListFields()} <= names | {"item_id"}
    assert kept.item_id == "a"


def test_without_paths_all_fields_stay() -> None:
    assert ItemFields.of([]).message(from_proto(whole())) == whole()


def test_the_time_of_the_last_change_stays_only_if_it_is_named() -> None:
    """An item that is read, changed and put again must not be older than itself."""
    item = whole()
    item.updated_at.seconds = 5
    assert ItemFields.of([]).message(from_proto(item)) == whole()
    assert ItemFields.of(["updated_at"]).message(from_proto(item)).updated_at.seconds == 5


def test_a_key_of_a_map_is_all_that_follows_the_first_dot() -> None:
    kept = ItemFields.of(["attributes.price.net", "attributes.unset", "title"]).message(from_proto(whole()))
    assert set(kept.attributes) == {"price.net"} and kept.title == "A" and not kept.categories


def test_an_attribute_shows_no_other_whose_name_begins_or_ends_like_it() -> None:
    item = item_pb2.Item(item_id="a")
    for name in ("photo", "photos", "photosCount", "a.photo", "a\\.photo", "*", "Photo"):
        item.attributes[name].texts.append(name)
    for name in item.attributes:
        kept = ItemFields.of([f"attributes.{name}"]).message(from_proto(item))
        assert {key: list(value.texts) for key, value in kept.attributes.items()} == {name: [name]}


def test_a_whole_map_includes_its_keys() -> None:
    kept = ItemFields.of(["attributes.brand", "attributes"]).message(from_proto(whole()))
    assert set(kept.attributes) == {"brand", "price.net"}


@pytest.mark.parametrize("path", ["titel", "", "Title", "title.x", "media.content", "item_id.", "*"])
def test_a_path_that_no_item_has_is_named(path: str) -> None:
    [(at, problem)] = problems(["title", path])
    assert at == 1 and repr(path) in problem and "attributes.NAME" in problem


def test_a_key_has_a_name_of_bounded_size() -> None:
    assert [at for at, _ in problems(["attributes.", "attributes. ", f"attributes.{'x' * 257}"])] == [0, 1, 2]
    assert not list(problems(["attributes", "attributes.price", f"attributes.{'x' * 256}"]))
