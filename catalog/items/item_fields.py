"""Which fields of an item a caller asks for."""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from catalog.items.item_check import MAX_NAME_BYTES
from catalog.items.items import Item
from recstream.v1 import item_pb2

_V = TypeVar("_V")

MAX_FIELDS: Final = 32

_FIELDS: Final[Mapping[str, FieldDescriptor]] = item_pb2.Item.DESCRIPTOR.fields_by_name
_ID: Final = "item_id"
_TIME: Final = "updated_at"


def _is_map(one: FieldDescriptor) -> bool:
    return one.message_type is not None and one.message_type.GetOptions().map_entry


_MAPS: Final = frozenset(name for name, one in _FIELDS.items() if _is_map(one))


_ATTRIBUTES: Final = "attributes"
_NO_ITEM: Final = Item("")
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (name,) for name in _FIELDS},
    _ATTRIBUTES: ("texts", "numbers"),
    "expires_at": ("expires_at_ms",),
    "published_at": ("published_at_ms",),
    _TIME: ("updated_at_ns",),
}
"""The fields of `Item` that make up each field of the message."""


@dataclass(frozen=True, slots=True)
class ItemFields:
    """A choice of the fields of `recstream.v1.Item`. The item id belongs to every choice.

    A path is the name of a field, such as `title`, or the name of a map and a key, such as `attributes.price`. All that
    follows the first dot is the key, whatever characters it has.

    Attributes:
        empty: What is left out of an `Item`: its fields by name, each with its value of an empty item.
        attributes: The names of the attributes that are kept. None: all of them, or none as `empty` says.
    """

    empty: Mapping[str, Any] = field(default_factory=dict)
    attributes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, paths: Collection[str]) -> Self:
        """The choice of these paths, in which `problems` must have found none. No paths: all fields but `updated_at`,
        with which an item that was read, changed and put again would be older than itself."""
        whole: Set[str] = {path for path in paths if "." not in path}
        attributes = [key for _, dot, key in (path.partition(".") for path in paths) if dot]
        if not whole and not attributes:
            whole = set(_FIELDS) - {_TIME}
        empty = {
            part: getattr(_NO_ITEM, part)
            for name, parts in _PARTS.items()
            if name not in whole and name != _ID
            for part in parts
        }
        chosen = attributes and _ATTRIBUTES not in whole
        return cls(empty, tuple(dict.fromkeys(attributes)) if chosen else None)

    def message(self, item: Item) -> item_pb2.Item:
        """The item as a message with these fields. Only they are converted, because a list may show 1,000 items."""
        kept = self.empty
        if self.attributes is not None:
            kept = {**kept, "texts": self._chosen(item.texts), "numbers": self._chosen(item.numbers)}
        return (replace(item, **kept) if kept else item).to_proto()

    def _chosen(self, values: Mapping[str, _V]) -> Mapping[str, _V]:
        return {name: values[name] for name in self.attributes or () if name in values}


def only(item: item_pb2.Item, paths: Collection[str]) -> item_pb2.Item:
    """Clears the fields of a message that are not named, but for the item id, and returns it. The message may be one
    that was not checked."""
    named = {path.partition(".")[0] for path in paths}
    message: Message = item
    for name in _FIELDS:
        if name not in named and name != _ID:
            message.ClearField(name)
    if _ATTRIBUTES not in paths:
        for key in [key for key in item.attributes if f"{_ATTRIBUTES}.{key}" not in paths]:
            del item.attributes[key]
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
