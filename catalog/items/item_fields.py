"""Which fields of an item a caller asks for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from catalog.items.item_check import MAX_NAME_BYTES
from recstream.v1 import item_pb2

MAX_FIELDS: Final = 32

_FIELDS: Final[Mapping[str, FieldDescriptor]] = item_pb2.Item.DESCRIPTOR.fields_by_name
_ID: Final = "item_id"
_TIME: Final = "updated_at"


def _is_map(one: FieldDescriptor) -> bool:
    return one.message_type is not None and one.message_type.GetOptions().map_entry


_MAPS: Final = frozenset(name for name, one in _FIELDS.items() if _is_map(one))


@dataclass(frozen=True, slots=True)
class ItemFields:
    """A choice of the fields of `recstream.v1.Item`. The item id belongs to every choice.

    A path is the name of a field, such as `title`, or the name of a map and a key, such as `attributes.price`. All that
    follows the first dot is the key, whatever characters it has.

    Attributes:
        cleared: The fields that are left out.
        keys: By map, the keys that are kept. A map that is not named is kept whole, or is left out.
    """

    cleared: tuple[str, ...] = ()
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """The choice of these paths, in which `problems` must have found none. No paths: all fields but `updated_at`,
        with which an item that was read, changed and put again would be older than itself."""
        whole: set[str] = set()
        keys: dict[str, set[str]] = {}
        for path in paths:
            name, dot, key = path.partition(".")
            if dot:
                keys.setdefault(name, set()).add(key)
            else:
                whole.add(name)
        if not whole and not keys:
            return cls((_TIME,))
        cleared = tuple(name for name in _FIELDS if name not in whole and name not in keys and name != _ID)
        return cls(cleared, {name: frozenset(some) for name, some in keys.items() if name not in whole})

    def keep(self, item: item_pb2.Item) -> item_pb2.Item:
        """Clears all other fields of a message, and returns it."""
        message: Message = item
        for name in self.cleared:
            message.ClearField(name)
        for name, wanted in self.keys.items():
            entries = getattr(item, name)
            for key in [key for key in entries if key not in wanted]:
                del entries[key]
        return item


def problems(paths: Iterable[str]) -> Iterable[tuple[int, str]]:
    """The problems of paths as (index, problem). Their number is not checked."""
    for at, path in enumerate(paths):
        name, dot, key = path.partition(".")
        if name not in _FIELDS or (dot and name not in _MAPS):
            known = ", ".join((*_FIELDS, *(f"{one}.NAME" for one in sorted(_MAPS))))
            yield at, f"is {path[:MAX_NAME_BYTES]!r}, which is no field of an item: use one of {known}"
        elif dot and not key.strip():
            yield at, f"is {path!r}, which names no key of {name}"
        elif len(key.encode()) > MAX_NAME_BYTES:
            yield at, f"has a key of {len(key.encode())} bytes; the limit is {MAX_NAME_BYTES}"
