"""The contents of frames: the digest of a slate, and the delta between two slates."""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from recstream.v1 import frame_pb2, slate_pb2

_DIGEST_BYTES: Final = 16


def digest(user_id: str, view: bytes, slate: slate_pb2.Slate) -> bytes:
    """Return a digest of 16 bytes of what a client sees: the items in order with their shown fields, tier and version.

    Scores and the model's outputs are left out. They change with popularity every second, and are only comparable
    within one slate.

    Args:
        user_id: The user.
        view: The key of the view, because a client that asks to see more has not got it yet.
        slate: The slate as the client sees it.
    """
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    _add(state, user_id.encode())
    _add(state, view)
    _add(state, b"%d/%d/%d" % (slate.tier, slate.model_version, slate.profile_unavailable))
    for item in slate.items:
        _add(state, item.item_id.encode())
        _add(state, item.item.SerializeToString(deterministic=True))
    return state.digest()


def delta(old: slate_pb2.Slate, new: slate_pb2.Slate) -> frame_pb2.Delta:
    """Return the delta that turns the old slate into the new one, including all that its items show.

    `removed_item_ids` are the items of the old slate that are not on the new one. `placed` are new, moved or changed
    items with their positions on the new slate, ascending. To apply it, remove the removed and the placed items from
    the old slate, then insert each placed item at its position. The longest increasing subsequence of unchanged items
    stays in place (Fredman 1975), so that as few items as possible move.
    """
    place = {item.item_id: at for at, item in enumerate(new.items)}
    was = {item.item_id: item for item in old.items}
    same = [at for item in old.items if (at := place.get(item.item_id, -1)) >= 0 and new.items[at] == item]
    stays = set(_longest_increasing(same))
    return frame_pb2.Delta(
        slate=slate_pb2.Slate(
            slate_id=new.slate_id,
            profile_revision=new.profile_revision,
            model_version=new.model_version,
            tier=new.tier,
            profile_unavailable=new.profile_unavailable,
        ),
        removed_item_ids=[item_id for item_id in was if item_id not in place],
        placed=[
            frame_pb2.PlacedItem(position=at, item=item)
            for at, item in enumerate(new.items)
            if at not in stays
        ],
        length=len(new.items),
    )


def _longest_increasing(values: Sequence[int]) -> list[int]:
    """Return a longest increasing subsequence of distinct numbers."""
    ends: list[int] = []  # ends[k]: the smallest last number of an increasing subsequence of length k + 1
    at: list[int] = []  # at[k]: the index of ends[k] in values
    before: list[int] = []
    for place, value in enumerate(values):
        k = bisect_left(ends, value)
        before.append(at[k - 1] if k else -1)
        if k == len(ends):
            ends.append(value)
            at.append(place)
        else:
            ends[k] = value
            at[k] = place
    found = []
    place = at[-1] if at else -1
    while place >= 0:
        found.append(values[place])
        place = before[place]
    return found[::-1]


def _add(state: "hashlib.blake2b", part: bytes) -> None:
    state.update(len(part).to_bytes(4, "big"))
    state.update(part)
