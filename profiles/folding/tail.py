"""The tail: items that were consumed before the history begins, in twelve bytes each."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct

_RECORD = Struct(">IQ")
_HASH = Struct(">Q")
_LAST_SECOND = 2**32 - 1


def hash64(item_id: str) -> int:
    """The BLAKE2b-64 hash of the item id in UTF-8, read as big-endian."""
    return int.from_bytes(blake2b(item_id.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Tail:
    """Consumed items as a set of hashes, each with the second of the newest event that consumed it.

    Items with the same hash are not distinguished. With 5,000 items in the tail, one in 4e15 other items has the hash
    of one of them.

    Attributes:
        value: Records of second (4 bytes) and hash (8 bytes), big-endian, newest first.
    """

    value: bytes = b""

    def __len__(self) -> int:
        return len(self.value) // _RECORD.size

    def contains(self, item_id: str) -> bool:
        """Whether the item is in the tail."""
        return self._find(_HASH.pack(hash64(item_id))) >= 0

    def records(self) -> list[tuple[int, int]]:
        """All records as (second, hash), newest first."""
        return list(_RECORD.iter_unpack(self.value))

    def hashes(self) -> frozenset[int]:
        """All hashes. Use this to look up many items."""
        return frozenset(item for _, item in _RECORD.iter_unpack(self.value))

    def add(self, entries: Iterable[tuple[int, int]], bound: int) -> "Tail":
        """Returns the tail with records (second, hash) added, cut to the newest `bound`.

        The order of adding makes no difference, nor does adding a record twice.
        """
        tail = self
        for second, item in entries:
            tail = tail._add_one(max(0, min(second, _LAST_SECOND)), item)
        return Tail(tail.value[: bound * _RECORD.size])

    def _add_one(self, second: int, item: int) -> "Tail":
        value = self.value
        record = _RECORD.pack(second, item)
        at = self._find(record[4:])
        if at >= 0:
            if value[at : at + _RECORD.size] >= record:
                return self
            value = value[:at] + value[at + _RECORD.size :]
        low, high = 0, len(value) // _RECORD.size
        while low < high:
            middle = (low + high) // 2
            if value[middle * _RECORD.size : (middle + 1) * _RECORD.size] > record:
                low = middle + 1
            else:
                high = middle
        cut = low * _RECORD.size
        return Tail(value[:cut] + record + value[cut:])

    def _find(self, item: bytes) -> int:
        """The byte at which the record of this hash begins, or -1."""
        at = self.value.find(item)
        while at >= 0 and at % _RECORD.size != 4:
            at = self.value.find(item, at + 1)
        return at - 4 if at >= 0 else -1
