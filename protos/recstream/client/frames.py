"""Turns frames into whole lists."""

from __future__ import annotations

from collections.abc import Sequence

from recstream.client.errors import ErrorDetails, GoingAway, ProtocolViolation
from recstream.client.lists import Recommendations, from_slate
from recstream.v1.frame_pb2 import Delta, Frame
from recstream.v1.slate_pb2 import RankedItem


def apply(delta: Delta, items: Sequence[RankedItem]) -> tuple[RankedItem, ...]:
    """Applies a delta to a list. Takes out the items that it removes or places, and inserts the placed ones in order.

    Raises:
        ProtocolViolation: a position is outside the list, or the result is not as long as the delta says.
    """
    placed = {each.position: each.item for each in delta.placed}
    moved = {each.item.item_id for each in delta.placed}
    gone = moved.union(delta.removed_item_ids)
    kept = [item for item in items if item.item_id not in gone]
    if not len(moved) == len(placed) == len(delta.placed):
        raise ProtocolViolation("a delta places an item twice or two items at one position")
    if len(kept) + len(placed) != delta.length or not all(0 <= place < delta.length for place in placed):
        raise ProtocolViolation(f"a delta does not lead to a list of {delta.length} items")
    # Inserting in ascending order has this result: placed items are at their positions, and kept items fill the rest.
    rest = iter(kept)
    return tuple(placed[place] if place in placed else next(rest) for place in range(delta.length))


class FrameReader:
    """Holds the list that a stream's frames describe, across connections.

    Call `connected()` at the start of each connection, and `read()` with each frame. `resume_token` always
    belongs to the list that is held.
    """

    def __init__(self, held: Recommendations | None = None) -> None:
        self.held = held
        self.resume_token = held.resume_token if held else ""
        self._expected = 1

    def connected(self) -> None:
        """Expects the first frame of a connection next."""
        self._expected = 1

    def read(self, frame: Frame) -> Recommendations | None:
        """Returns the new list, if the frame has one.

        Raises:
            GoingAway: the server asks the client to open the stream again after a delay.
            ProtocolViolation: the frame is not the next one, or does not fit the list. The stream must be
                opened again with the current `resume_token`, which is empty if the list is in doubt.
        """
        if frame.sequence != self._expected:
            raise ProtocolViolation(f"frame {frame.sequence} came, but frame {self._expected} was expected")
        self._expected += 1
        kind = frame.WhichOneof("kind")
        if kind == "snapshot":
            slate = frame.snapshot.slate
            items: tuple[RankedItem, ...] = tuple(slate.items)
        elif kind == "delta":
            slate = frame.delta.slate
            items = self._patched(frame.delta)
        elif kind == "go_away":
            # Its token belongs to the list that is held. Without a token, the older one still does.
            if frame.resume_token and self.held is not None:
                self.resume_token = frame.resume_token
            delay = frame.go_away.reconnect_after.ToTimedelta().total_seconds()
            raise GoingAway(
                f"the server is about to end the stream and asks the client to reconnect in {delay:g} s",
                ErrorDetails(retry_after=delay),
            )
        else:
            return None  # a heartbeat, or a kind that only a newer server has
        self.resume_token = frame.resume_token
        self.held = from_slate(
            slate,
            items=items,
            includes_events=frame.includes_events or not frame.HasField("includes_events"),
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
