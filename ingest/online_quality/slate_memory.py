"""Lists as they were sent, remembered for as long as someone may act on them, in little room."""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1 import slate_pb2


@dataclass(slots=True)
class RememberedSlate:
    """A list. surface: a label's value. version: the model's, 0 for none. items: hashes of the item ids, in order.

    probabilities: of each place, one an action in the order of the actions; NaN where the model has none. None: the
    ranker had no part in the list. marks: bits for what was counted, as many a place as there are actions and two.
    """

    surface: str
    version: int
    items: "array[int]"
    probabilities: "array[float] | None"
    marks: int = 0

    def place(self, item_id: str) -> int | None:
        """Where the item is on the list, from 0; None: it is not."""
        try:
            return self.items.index(hash(item_id))
        except ValueError:
            return None

    def mark(self, bit: int) -> bool:
        """Sets a bit. Whether it was not set before."""
        fresh = not self.marked(bit)
        self.marks |= 1 << bit
        return fresh

    def marked(self, bit: int) -> bool:
        """Whether the bit is set."""
        return bool(self.marks >> bit & 1)


class SlateMemory:
    """The newest lists by slate id, `most` of them."""

    def __init__(self, actions: Sequence[str], most: int) -> None:
        self._actions = tuple(actions)
        self._most = most
        self._lists: OrderedDict[str, RememberedSlate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lists)

    def get(self, slate_id: str) -> RememberedSlate | None:
        """The list, if it is remembered."""
        return self._lists.get(slate_id)

    def add(self, record: SlateRecord, surface: str) -> RememberedSlate | None:
        """Remembers a list, and forgets the oldest one if there are too many. None: it was remembered before."""
        slate = record.slate
        if slate.slate_id in self._lists:
            return None
        hashes = array("q", (hash(item.item_id) for item in slate.items))
        shown = RememberedSlate(surface, slate.model_version, hashes, self._probabilities(slate))
        self._lists[slate.slate_id] = shown
        while len(self._lists) > self._most:
            self._lists.popitem(last=False)
        return shown

    def _probabilities(self, slate: slate_pb2.Slate) -> "array[float] | None":
        if slate.tier != slate_pb2.TIER_RANKED:
            return None
        absent = float("nan")
        found = array("f")
        for item in slate.items:
            known = dict(item.probabilities)
            found.extend(known.get(action, absent) for action in self._actions)
        return found
