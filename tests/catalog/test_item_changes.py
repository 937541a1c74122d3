"""Items are folded by their source's time: the later one wins, field by field, in whatever order changes arrive."""

from collections.abc import Callable
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import BadRecord
from catalog.in_memory import InMemoryCatalog
from catalog.items.item_changes import (
    TIMES_HEADER,
    StoredState,
    decode_change,
    decode_state,
    deletion_value,
    encode_state,
    is_direct,
    patch_problems,
    patch_value,
    put_value,
)
from catalog.items.item_check import MAX_ATTRIBUTES
from catalog.items.item_state import NEVER, ItemState, Stamp, merge, problems
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from profiles.times import timestamp
from recstream.v1 import item_pb2
from tests.catalog.records import Record

SECOND = 1_000_000_000


def texts(*values: str) -> item_pb2.Attribute:
    return item_pb2.Attribute(texts=values)


def numbers(*values: float) -> item_pb2.Attribute:
    return item_pb2.Attribute(numbers=values)


def put(at: int, **fields: object) -> bytes:
    return put_value(item_pb2.Item(item_id="a", **fields), at * SECOND)  # type: ignore[arg-type]


def patch(at: int, *paths: str, **fields: object) -> bytes:
    item = item_pb2.Item(item_id="a", **fields)  # type: ignore[arg-type]
    return patch_value(item_pb2.ItemPatch(item=item, fields=paths), at * SECOND)


def delete(at: int) -> bytes:
    return deletion_value(at * SECOND)


def folded(*changes: bytes) -> ItemState:
    states = [decode_change(b"a", change).without_contents() for change in changes]
    return reduce(merge, states, ItemState(Item("a")))


attributes = st.dictionaries(
    st.sampled_from(["price", "color", "a.b"]),
    st.builds(texts, st.sampled_from(["x", "y"])) | st.builds(numbers, st.sampled_from([1.0, 2.0])),
    max_size=3,
)
messages = st.builds(
    item_pb2.Item,
    item_id=st.just("a"),
    title=st.sampled_from(["", "A", "B"]),
    description=st.sampled_from(["", "long"]),
    categories=st.lists(st.sampled_from(["x", "y"]), max_size=2),
    domain=st.sampled_from(["", "video"]),
    withdrawn=st.booleans(),
    attributes=attributes,
    expires_at=st.none() | st.integers(0, 3).map(timestamp),
    published_at=st.none() | st.integers(0, 3).map(timestamp),
    media=st.lists(
        st.builds(item_pb2.Media, modality=st.just("image"), content=st.sampled_from([b"1", b"2"])),
        max_size=1,
    ),
)
paths = st.sampled_from(
    [
        "title",
        "description",
        "categories",
        "domain",
        "withdrawn",
        "expires_at",
        "published_at",
        "media",
        "attributes",
        "attributes.price",
        "attributes.color",
        "attributes.a.b",
    ]
)
times = st.integers(0, 6)  # few, so that there are ties
changes = st.one_of(
    st.builds(put_value, messages, times),
    st.builds(
        patch_value,
        st.builds(item_pb2.ItemPatch, item=messages, fields=st.lists(paths, min_size=1, max_size=4)),
        times,
    ),
    st.builds(deletion_value, times),
)


@given(st.lists(changes, max_size=8), st.data())
def test_any_order_any_batches_and_any_repeats_end_in_the_same_bytes(
    found: list[bytes], data: st.DataObject
) -> None:
    in_order = encode_state(folded(*found))
    order = data.draw(
        st.permutations(found + data.draw(st.lists(st.sampled_from(found or [b""]), max_size=4)))
    )
    order = [change for change in order if change]
    cut = data.draw(st.integers(0, len(order)))
    assert encode_state(folded(*order)) == in_order
    assert encode_state(merge(folded(*order[:cut]), folded(*order[cut:]))) == in_order


@given(st.lists(changes, max_size=8))
def test_each_field_has_the_value_of_its_newest_write(found: list[bytes]) -> None:
    """The fold against the plainest one: all writes of each field, sorted."""
    states = [decode_change(b"a", change).without_contents() for change in found]
    writes: dict[str, tuple[Stamp, object]] = {}

    def write(register: str, stamp: Stamp, value: object) -> None:
        if stamp > writes.get(register, (NEVER, None))[0]:
            writes[register] = stamp, value

    def values(item: Item) -> dict[str, object]:
        return {f"attributes.{key}": value for key, value in {**item.texts, **item.numbers}.items()}

    keys = {f"attributes.{key}" for key in ("price", "color", "a.b")}
    fields = {"expires_at": "expires_at_ms", "published_at": "published_at_ms"}
    plain = (
        "title",
        "description",
        "categories",
        "domain",
        "withdrawn",
        "expires_at",
        "published_at",
        "media",
    )
    for state in states:
        item = state.item
        written = dict(state.patched) or dict.fromkeys([*plain, *keys, "listed"], state.whole)
        if "attributes" in written:
            written |= dict.fromkeys(keys, written.pop("attributes"))
        for register, stamp in written.items():
            if register in keys:
                write(register, stamp, values(item).get(register))
            elif register == "listed":
                write(register, stamp, state.listed)
            else:
                write(register, stamp, getattr(item, fields.get(register, register)))
    final = folded(*found)
    assert final.listed == writes.get("listed", (NEVER, False))[1]
    for register, (_, value) in writes.items():
        if register in keys:
            assert values(final.item).get(register) == value
        elif register != "listed":
            assert getattr(final.item, fields.get(register, register)) == value


@given(st.lists(changes, max_size=8))
def test_a_state_is_read_back_from_its_record(found: list[bytes]) -> None:
    state = folded(*found)
    if state == ItemState(Item("a")):
        return
    stored = encode_state(state)
    record = Record(b"a", stored.value, stored.headers)
    assert decode_state(record) == state and not is_direct(record)
    assert (stored.value is not None) == state.listed


@given(st.lists(changes, max_size=6), st.lists(changes, max_size=6))
def test_the_catalogue_shows_what_the_log_ends_with_in_whatever_order_it_learns_it(
    here: list[bytes], elsewhere: list[bytes]
) -> None:
    """A server folds what it accepted before the owner's records come, and older records after them."""
    catalog = InMemoryCatalog(CatalogSettings(), lambda: 1)
    for change in here:
        catalog.merge_item(decode_change(b"a", change).without_contents())
    for count in range(len(here) + len(elsewhere) + 1):
        log = [*elsewhere, *here][:count]
        if log:
            stored = encode_state(folded(*log))
            catalog.merge_item(decode_state(Record(b"a", stored.value, stored.headers)).without_contents())
    final = folded(*here, *elsewhere)
    row = catalog.row("a")
    assert (row is not None) == final.listed
    if row is not None:
        assert catalog.item(row) == final.item


@given(st.lists(changes, max_size=8), st.data())
def test_the_catalogue_shows_what_changes_end_with_before_anyone_folds_them(
    found: list[bytes], data: st.DataObject
) -> None:
    """Also a patch that is read before the put of its item."""
    catalog = InMemoryCatalog(CatalogSettings(), lambda: 1)
    for change in data.draw(st.permutations(found)):
        catalog.merge_item(decode_change(b"a", change).without_contents())
    final = folded(*found)
    row = catalog.row("a")
    assert (row is not None) == final.listed
    if row is not None:
        assert catalog.item(row) == final.item


def test_an_older_put_changes_nothing_and_a_later_one_everything() -> None:
    state = folded(put(5, title="now", domain="d"), put(3, title="before"))
    assert state.item.title == "now" and state.item.updated_at_ns == 5 * SECOND
    later = folded(put(5, title="now", domain="d"), put(6))
    assert later.item == Item("a", updated_at_ns=6 * SECOND)


def test_withdrawn_is_withdrawn_until_a_later_put_or_patch() -> None:
    withdrawn = (put(1), patch(5, "withdrawn", withdrawn=True))
    assert folded(*withdrawn, put(4, title="late retry")).item.withdrawn
    assert folded(*withdrawn, put(4, title="late retry")).item.title == "late retry"
    assert not folded(*withdrawn, put(6)).item.withdrawn
    assert not folded(*withdrawn, patch(6, "withdrawn")).item.withdrawn


def test_a_patch_sets_and_clears_only_its_fields() -> None:
    before = put(1, title="T", categories=["x"], attributes={"price": numbers(9), "color": texts("red")})
    state = folded(
        before, patch(2, "attributes.price", "categories", title="no", attributes={"price": numbers(8)})
    )
    assert state.item == Item(
        "a", "T", texts={"color": ("red",)}, numbers={"price": (8.0,)}, updated_at_ns=2 * SECOND
    )
    assert folded(before, patch(2, "attributes")).item.texts == {}


def test_a_patch_of_an_unknown_item_waits_until_it_is_put() -> None:
    waiting = patch(5, "title", title="patched")
    assert not folded(waiting).listed
    assert folded(waiting, put(3, title="put", domain="d")).item == Item(
        "a", "patched", domain="d", updated_at_ns=5 * SECOND
    )
    assert folded(waiting, put(6, title="put")).item.title == "put"


def test_a_deleted_item_comes_back_only_by_a_later_put() -> None:
    gone = (put(1), delete(5))
    for older in (put(4), patch(9, "title", title="x"), put(5 - 1)):
        assert not folded(*gone, older).listed
    back = folded(*gone, patch(9, "title", title="x"), patch(3, "domain", domain="old"), put(6))
    assert back.listed and back.item == Item("a", "x", updated_at_ns=9 * SECOND)


def test_records_of_other_producers_are_ordered_by_their_time_or_as_the_log_is() -> None:
    def direct(title: str, timestamp_ms: int, offset: int, updated_s: int | None = None) -> ItemState:
        message = item_pb2.Item(item_id="a", title=title)
        if updated_s is not None:
            message.updated_at.seconds = updated_s
        return decode_state(Record(b"a", message.SerializeToString(), (), timestamp_ms, offset))

    assert merge(direct("first", 7, 1), direct("second", 7, 2)).item.title == "second"
    assert merge(direct("first", 8, 1), direct("second", 7, 2)).item.title == "first"
    assert merge(direct("own", 9_000, 1, 5), direct("old", 9_000, 2, 4)).item.title == "own"
    ahead = direct("ahead", 9_000, 1, 9 + 301)
    assert ahead.whole == Stamp(9 * SECOND, 1) and ahead.item.updated_at_ns == 9 * SECOND
    assert direct("nearly", 9_000, 1, 9 + 300).whole.time_ns == 309 * SECOND
    removed = decode_state(Record(b"a", None, (), 8, 3))
    assert not merge(direct("first", 7, 1), removed).listed


def test_a_change_of_price_or_stock_does_not_change_what_is_embedded() -> None:
    before = put(
        1,
        title="T",
        attributes={"price": numbers(9)},
        media=[item_pb2.Media(modality="image", content=b"png")],
    )
    plain, cheaper = (
        folded(before),
        folded(before, patch(2, "attributes.price", attributes={"price": numbers(8)})),
    )
    assert cheaper.item.numbers == {"price": (8.0,)} and cheaper.item.media == plain.item.media
    assert cheaper.item.content_hash(("brand",)) == plain.item.content_hash(("brand",))


def test_patches_that_would_make_an_item_too_large_are_passed_over() -> None:
    full = put(1, attributes={f"n{i}": numbers(i) for i in range(MAX_ATTRIBUTES)})
    state = folded(full, patch(2, "attributes.more", attributes={"more": numbers(1)}))
    assert len(state.item.numbers) == MAX_ATTRIBUTES and not problems(state)
    swapped = folded(full, patch(2, "attributes.n0", "attributes.more", attributes={"more": numbers(1)}))
    assert len(swapped.item.numbers) == MAX_ATTRIBUTES and "more" in swapped.item.numbers


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([], "is empty"),
        (["titel"], "is no field"),
        (["attributes."], "names no key"),
        (["item_id"], "cannot be patched"),
        (["updated_at"], "cannot be patched"),
        (["title"] * 129, "the limit is 128"),
        (["media"], "is empty: put the item with its contents"),
        (["expires_at"], "nanoseconds"),
    ],
)
def test_an_invalid_patch_is_refused(fields: list[str], problem: str) -> None:
    item = item_pb2.Item(item_id="a", media=[item_pb2.Media(modality="image")])
    item.expires_at.nanos = -1
    assert problem in " ".join(
        text for _, text in patch_problems(item_pb2.ItemPatch(item=item, fields=fields))
    )


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_record_that_cannot_be_used_is_refused_whatever_it_holds(value: bytes, header: bytes) -> None:
    reads: list[Callable[[], ItemState]] = [
        lambda: decode_change(b"a", value),
        lambda: decode_state(Record(b"a", value, [(TIMES_HEADER, header)])),
        lambda: StoredState(None, header).decode(b"a"),
    ]
    for read in reads:
        try:
            state = read()
        except BadRecord:
            continue
        assert state.item.item_id == "a"


def test_a_kind_of_change_of_a_later_release_is_refused() -> None:
    with pytest.raises(BadRecord, match="does not know"):
        decode_change(b"a", b"\x08\x01")
