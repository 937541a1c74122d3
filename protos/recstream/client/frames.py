"""From frames to whole lists."""

from __future__ import annotations

from collections.abc import Sequence

from recstream.client.errors import ErrorDetails, GoingAway, ProtocolViolation
from recstream.client.lists import Recommendations, from_slate
from recstream.v1.frame_pb2 import Delta, Frame
from recstream.v1.slate_pb2 import RankedItem


def apply(delta: Delta, items: Sequence[RankedItem]) -> tuple[RankedItem, ...]:
    """The list after a delta: without what it removes or places, then each placed item inserted in order.

    Raises:
        ProtocolViolation: a position lies outside, or the result is not as long as the delta says.
    """
    placed = {each.position: each.item for each in delta.placed}
    moved = {each.item.item_id for each in delta.placed}
    gone = moved.union(delta.removed_item_ids)
    kept = [item for item in items if item.item_id not in gone]
    if not len(moved) == len(placed) == len(delta.placed):
        raise ProtocolViolation("a delta places an item twice or two items at one position")
    if len(kept) + len(placed) != delta.length or not all(0 <= place < delta.length for place in placed):
        raise ProtocolViolation(f"a delta does not lead to a list of {delta.length} items")
    # Inserting in ascending order comes to this: each placed item has its position, the kept fill the rest.
    rest = iter(kept)
    return tuple(placed[place] if place in placed else next(rest) for place in range(delta.length))


class FrameReader:
    """Keeps the list that a stream's frames describe, over as many connections as it takes.

    `connected()` at the start of each connection, then `read()` with each frame. `resume_token` is that of
    the list that is held, so the two never disagree.
    """

    def __init__(self, held: Recommendations | None = None) -> None:
        self.held = held
        self.resume_token = held.resume_token if held else ""
        self._expected = 1

    def connected(self) -> None:
        """Says that the next frame is the first of a connection."""
        self._expected = 1

    def read(self, frame: Frame) -> Recommendations | None:
        """The new list, if the frame has one.

        Raises:
            GoingAway: the server asks to open the stream again after a delay.
            ProtocolViolation: the frame is not the next one, or does not fit the list. The stream must be
                opened again: with `resume_token` as it then is, which is empty where the list is in doubt.
        """
        if frame.sequence != self._expected:
            raise ProtocolViolation(f"frame {frame.sequence} came where {self._expected} was due")
        self._expected += 1
        kind = frame.WhichOneof("kind")
        if kind == "snapshot":
            slate = frame.snapshot.slate
            items: tuple[RankedItem, ...] = tuple(slate.items)
        elif kind == "delta":
            slate = frame.delta.slate
            items = self._patched(frame.delta)
        elif kind == "go_away":
            # Its token is for the list that is held; without one the older token still names it.
            if frame.resume_token and self.held is not None:
                self.resume_token = frame.resume_token
            delay = frame.go_away.reconnect_after_ms / 1000
            raise GoingAway(
                f"the server is about to end the stream and asks to be back in {delay:g} s",
                ErrorDetails(retry_after=delay),
            )
        else:
            return None  # a heartbeat, or a kind that a later server has
        self.resume_token = frame.resume_token
        self.held = from_slate(
            slate,
            items=items,
            causes=frame.caused_by,
            resume_token=frame.resume_token,
            sequence=frame.sequence,
        )
        return self.held

    def _patched(self, delta: Delta) -> tuple[RankedItem, ...]:
        try:
            if self.held is None:
                raise ProtocolViolation("a delta came before any list")
            return apply(delta, self.held.items)
        except ProtocolViolation:
            self.resume_token = ""
            raise
