"""The contents of frames: deltas and digests."""

from hypothesis import given
from hypothesis import strategies as st

from recstream.client.frames import apply
from recstream.v1 import slate_pb2
from server.requests.slate_service import without
from server.streaming.frames import delta, digest

ITEM = st.builds(
    slate_pb2.RankedItem,
    item_id=st.sampled_from([f"i{n}" for n in range(12)]),
    score=st.sampled_from([0.25, 0.5]),
    source=st.sampled_from(["nearest", "fresh"]),
)
SLATE = st.builds(
    slate_pb2.Slate,
    slate_id=st.text(max_size=3),
    items=st.lists(ITEM, max_size=12, unique_by=lambda item: item.item_id),
    profile_revision=st.integers(0, 9),
    model_version=st.integers(0, 2),
    tier=st.sampled_from([slate_pb2.TIER_RANKED, slate_pb2.TIER_POPULAR]),
)


@given(SLATE, SLATE)
def test_a_delta_turns_the_old_list_into_exactly_the_new_one(
    old: slate_pb2.Slate, new: slate_pb2.Slate
) -> None:
    change = delta(old, new)
    result = slate_pb2.Slate()
    result.CopyFrom(change.slate)
    result.items.extend(apply(change, old.items))
    assert result == new


@given(SLATE, SLATE)
def test_a_delta_removes_what_is_gone_and_nothing_else(old: slate_pb2.Slate, new: slate_pb2.Slate) -> None:
    gone = {item.item_id for item in old.items} - {item.item_id for item in new.items}
    assert set(delta(old, new).removed_item_ids) == gone


@given(st.lists(ITEM, min_size=2, max_size=12, unique_by=lambda item: item.item_id), st.data())
def test_one_item_that_moved_is_the_only_one_placed(items, data) -> None:
    moved = list(items)
    item = moved.pop(data.draw(st.integers(0, len(moved) - 1)))
    moved.insert(data.draw(st.integers(0, len(moved))), item)
    assert len(delta(slate_pb2.Slate(items=items), slate_pb2.Slate(items=moved)).placed) <= 1


@given(SLATE)
def test_a_digest_depends_on_the_items_in_order_but_not_on_scores(slate: slate_pb2.Slate) -> None:
    other = slate_pb2.Slate()
    other.CopyFrom(slate)
    other.slate_id = "another"
    for item in other.items:
        item.score += 1
    assert digest("u", b"", slate) == digest("u", b"", other) != digest("v", b"", slate)
    assert digest("u", b"", slate) != digest("u", b"view", slate)
    if len(slate.items) > 1:
        turned = slate_pb2.Slate()
        turned.CopyFrom(slate)
        del turned.items[:]
        turned.items.extend(reversed(slate.items))
        assert digest("u", b"", turned) != digest("u", b"", slate)


@given(SLATE, st.frozensets(st.sampled_from([f"i{n}" for n in range(12)])))
def test_a_list_without_some_items_keeps_the_order_of_the_rest(
    slate: slate_pb2.Slate, gone: frozenset[str]
) -> None:
    shorter = without(slate, gone, "new")
    assert [item for item in slate.items if item.item_id not in gone] == list(shorter.items)
    assert shorter.tier == slate.tier and shorter.slate_id == ("new" if shorter.items else "")
