"""The newest slates that were sent, in memory, so that events can be joined to them."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cachetools import FIFOCache

from recstream.storage.v1.slate_pb2 import SlateRecord

_COUNTED_ITEMS: Final = 50
"""A slate of more items takes as much memory as several, and counts as that many."""


@dataclass(slots=True)
class RememberedSlate:
    """A slate that was sent.

    Attributes:
        user: The hash of the id of the user who got it.
        surface: Its surface, as the value of a label.
        version: The model version that made it; 0: none.
        items: Hashes of the item ids, by position.
        probabilities: The ranker's probability of each action at each position, flat, row by row: [positions x
            actions]. NaN where the model gave none. None: the ranker did not score the slate.
        marks: A bit field of what was counted. Each position has one bit per action, and two more.
    """

    user: int
    surface: str
    version: int
    items: "array[int]"
    probabilities: "array[float] | None"
    marks: int = 0

    def is_of(self, user_id: str) -> bool:
        """Whether this user got the slate."""
        return self.user == hash(user_id)

    def position(self, item_id: str) -> int | None:
        """The item's position, from 0. None if the slate does not have the item."""
        try:
            return self.items.index(hash(item_id))
        except ValueError:
            return None

    def mark(self, bit: int) -> bool:
        """Sets a bit. Returns whether it was unset before."""
        fresh = not self.marked(bit)
        self.marks |= 1 << bit
        return fresh

    def marked(self, bit: int) -> bool:
        """Whether the bit is set."""
        return bool(self.marks >> bit & 1)


class SlateMemory:
    """The newest slates, by slate id.

    Args:
        actions: The names of the actions, in the order of `RememberedSlate.probabilities`.
        size: Most slates of up to 50 items in memory. One of 1,000 items counts as 20.
    """

    def __init__(self, actions: Sequence[str], size: int) -> None:
        self._actions = tuple(actions)
        self._slates: FIFOCache[str, RememberedSlate] = FIFOCache(
            size, lambda slate: min(size, max(1, -(-len(slate.items) // _COUNTED_ITEMS)))
        )

    def __len__(self) -> int:
        return len(self._slates)

    def get(self, slate_id: str) -> RememberedSlate | None:
        """The slate, if it is remembered."""
        return self._slates.get(slate_id)

    def add(self, record: SlateRecord, surface: str) -> RememberedSlate | None:
        """Remembers a slate, and drops the oldest one if there are too many. Returns None if the slate is known."""
        slate = record.slate
        if slate.slate_id in self._slates:
            return None
        hashes = array("q", (hash(item.item_id) for item in slate.items))
        remembered = RememberedSlate(
            user=hash(record.user_id),
            surface=surface,
            version=slate.model_version,
            items=hashes,
            probabilities=self._probabilities(record),
        )
        self._slates[slate.slate_id] = remembered
        return remembered

    def _probabilities(self, record: SlateRecord) -> "array[float] | None":
        width, flat = len(record.actions), record.probabilities
        if not width or len(flat) != width * len(record.slate.items):
            return None
        columns_by_action = {action: column for column, action in enumerate(record.actions)}
        columns = [columns_by_action.get(action) for action in self._actions]
        absent = float("nan")
        found = array("f")
        for start in range(0, len(flat), width):
            found.extend(absent if column is None else flat[start + column] for column in columns)
        return found
