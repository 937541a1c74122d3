"""Frames become whole lists."""

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from recstream.client import GoingAway, ProtocolViolation, RankedItem
from recstream.client.frames import FrameReader, apply
from recstream.v1.frame_pb2 import Delta, Frame, GoAway, Heartbeat, PlacedItem
from tests.client.scripted_server import snapshot

LISTS = st.lists(
    st.builds(RankedItem, item_id=st.sampled_from("abcdefghijkl"), score=st.sampled_from([0.25, 0.5])),
    unique_by=lambda item: item.item_id,
)


def by_position(old: list[RankedItem], new: list[RankedItem]) -> Delta:
    """Returns the delta of a server that compares lists by position."""
    ids = {item.item_id for item in new}
    changed = [place for place, item in enumerate(new) if place >= len(old) or old[place] != item]
    return Delta(
        removed_item_ids=[item.item_id for item in old if item.item_id not in ids],
        placed=[PlacedItem(position=place, item=new[place]) for place in changed],
        length=len(new),
    )


def fewest(old: list[RankedItem], new: list[RankedItem]) -> Delta:
    """Returns the delta of a server that does not place items that only shift. Kept items keep their order."""
    kept: list[RankedItem] = []
    rest = iter(old)
    for item in new:  # Greedy: any common subsequence will do.
        remaining = list(rest)
        if item in remaining:
            kept.append(item)
            remaining = remaining[remaining.index(item) + 1 :]
        rest = iter(remaining)
    ids = {item.item_id for item in new}
    return Delta(
        removed_item_ids=[item.item_id for item in old if item.item_id not in ids],
        placed=[PlacedItem(position=place, item=item) for place, item in enumerate(new) if item not in kept],
        length=len(new),
    )


def one_by_one(delta: Delta, items: list[RankedItem]) -> list[RankedItem]:
    """Applies a delta literally as the contract says."""
    named = {placed.item.item_id for placed in delta.placed}
    result = [item for item in items if item.item_id not in {*delta.removed_item_ids, *named}]
    for placed in sorted(delta.placed, key=lambda each: each.position):
        result.insert(placed.position, placed.item)
    return result


@given(LISTS, LISTS, st.sampled_from([by_position, fewest]))
def test_a_delta_applied_is_the_new_list(old: list[RankedItem], new: list[RankedItem], differ):
    delta = differ(old, new)
    assert list(apply(delta, old)) == new == one_by_one(delta, old)
    # A delta may arrive in any order.
    delta.placed.sort(key=lambda placed: -placed.position)
    assert list(apply(delta, old)) == new


def place(*positions: int) -> list[PlacedItem]:
    return [PlacedItem(position=position, item=RankedItem(item_id=f"n{position}")) for position in positions]


@pytest.mark.parametrize(
    "delta",
    [
        Delta(length=3),
        Delta(length=1),
        Delta(placed=place(5), length=3),
        Delta(placed=place(-1), length=3),
        Delta(placed=place(0, 0), length=4),
        Delta(placed=[*place(0), PlacedItem(position=1, item=RankedItem(item_id="n0"))], length=4),
        Delta(length=2_147_483_647),
        Delta(removed_item_ids=["a"], length=2),
    ],
)
def test_a_delta_that_does_not_fit_is_refused(delta: Delta):
    with pytest.raises(ProtocolViolation):
        apply(delta, [RankedItem(item_id="a"), RankedItem(item_id="b")])


def test_a_gap_in_sequence_numbers_is_refused_and_the_list_stays_valid():
    reader = FrameReader()
    reader.read(snapshot(1, "a", token="t1"))
    with pytest.raises(ProtocolViolation, match="frame 3 came, but frame 2 was expected"):
        reader.read(snapshot(3, "b", token="t3"))
    assert reader.held is not None
    assert (reader.held.item_ids, reader.resume_token) == (("a",), "t1")


def test_a_delta_that_does_not_fit_asks_for_a_whole_list_next():
    reader = FrameReader()
    reader.read(snapshot(1, "a", token="t1"))
    with pytest.raises(ProtocolViolation):
        reader.read(Frame(sequence=2, delta=Delta(length=7), resume_token="t2"))
    assert reader.resume_token == ""


def test_heartbeats_have_sequence_numbers_and_change_nothing():
    reader = FrameReader()
    reader.read(snapshot(1, "a", token="t1"))
    assert reader.read(Frame(sequence=2, heartbeat=Heartbeat())) is None
    assert reader.read(snapshot(3, "b", token="t3")) is reader.held


def test_after_a_go_away_before_any_list_the_next_stream_sends_one():
    reader = FrameReader()
    with pytest.raises(GoingAway):
        reader.read(
            Frame(sequence=1, go_away=GoAway(reconnect_after=Duration(nanos=10_000_000)), resume_token="t")
        )
    assert reader.resume_token == ""
