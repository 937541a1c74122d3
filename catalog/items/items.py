"""An item as the catalogue holds it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from sys import intern
from types import MappingProxyType

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from catalog.errors import BadRecord
from catalog.items.item_check import check
from catalog.items.item_time import nanosecond_timestamp, nanoseconds
from catalog.items.media import Media
from catalog.items.media import from_proto as media_from_proto
from catalog.items.text import content_hash, item_text
from recstream.v1 import item_pb2
from telemetry.unknown_fields import names_in_json, note, note_in

__all__ = ["Item", "check", "decode", "from_proto"]

_NAME = 40
_NO_TEXTS: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_NO_NUMBERS: Mapping[str, tuple[float, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Item:
    """A checked item: the fields of `recstream.v1.Item`, without duplicate categories and values.

    Attributes:
        texts: The attributes with texts, by name. None of them is empty.
        numbers: The attributes with numbers, by name. None of them is empty.
        expires_at_ms: Unix milliseconds. None: never.
        published_at_ms: Unix milliseconds. None: unknown.
        updated_at_ns: When its source changed it, Unix nanoseconds. None: unknown.
    """

    item_id: str
    title: str = ""
    description: str = ""
    categories: tuple[str, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_TEXTS)
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: _NO_NUMBERS)
    domain: str = ""
    withdrawn: bool = False
    expires_at_ms: int | None = None
    published_at_ms: int | None = None
    media: tuple[Media, ...] = ()
    updated_at_ns: int | None = None

    def text(self, text_attributes: Collection[str]) -> str:
        """The text that is embedded: title, categories, these attributes' texts and description as plain text.

        Args:
            text_attributes: The attributes that the model reads, `Manifest.text_attributes`.
        """
        read = {name: texts for name, texts in self.texts.items() if name in text_attributes}
        return item_text(self.title, self.categories, read, self.description)

    def content_hash(self, text_attributes: Collection[str]) -> bytes:
        """A hash of 16 bytes over `text(text_attributes)` and all media. It is the same with and without the media's
        contents."""
        return content_hash(self.text(text_attributes), ((m.modality, m.content_hash) for m in self.media))

    def embedded_hash(self, text_attributes: Collection[str]) -> bytes:
        """A hash of 16 bytes over `text(text_attributes)` and the media whose contents are present: the input of a
        vector that is computed now."""
        return content_hash(
            self.text(text_attributes), ((m.modality, m.content_hash) for m in self.media if m.content)
        )

    def without_contents(self) -> "Item":
        """The item with hashes in place of its media's contents, as it is kept in memory and returned to clients."""
        if not any(m.content for m in self.media):
            return self
        return replace(self, media=tuple(m.without_content() for m in self.media))

    def to_proto(self) -> item_pb2.Item:
        """The item as a message of the API."""
        return item_pb2.Item(
            item_id=self.item_id,
            title=self.title,
            description=self.description,
            categories=self.categories,
            attributes={
                **{name: item_pb2.Attribute(texts=texts) for name, texts in self.texts.items()},
                **{name: item_pb2.Attribute(numbers=numbers) for name, numbers in self.numbers.items()},
            },
            domain=self.domain,
            withdrawn=self.withdrawn,
            expires_at=_timestamp(self.expires_at_ms),
            published_at=_timestamp(self.published_at_ms),
            media=(m.to_proto() for m in self.media),
            updated_at=None if self.updated_at_ns is None else nanosecond_timestamp(self.updated_at_ns),
        )


def from_proto(message: item_pb2.Item) -> Item:
    """The item of a message. `check` must have found no problem in it."""
    # Many items share the names of categories and attributes. Interned, each is in memory once.
    return Item(
        item_id=message.item_id,
        title=message.title,
        description=message.description,
        categories=tuple(dict.fromkeys(intern(c) for c in message.categories)),
        texts={
            intern(name): tuple(dict.fromkeys(attribute.texts))
            for name, attribute in message.attributes.items()
            if attribute.texts
        }
        or _NO_TEXTS,
        numbers={
            intern(name): tuple(dict.fromkeys(attribute.numbers))
            for name, attribute in message.attributes.items()
            if attribute.numbers
        }
        or _NO_NUMBERS,
        domain=intern(message.domain),
        withdrawn=message.withdrawn,
        expires_at_ms=message.expires_at.ToMilliseconds() if message.HasField("expires_at") else None,
        published_at_ms=message.published_at.ToMilliseconds() if message.HasField("published_at") else None,
        media=media_from_proto(message.media),
        updated_at_ns=nanoseconds(message.updated_at) if message.HasField("updated_at") else None,
    )


def decode(key: bytes | None, value: bytes) -> Item:
    """Parses a record of the topic `items`: protobuf, or its JSON form if the first byte is `{`.

    Fields that this release does not know are passed over and counted. Raises BadRecord if the record cannot be read,
    exceeds a limit, or is not the item that its key names.
    """
    message = item_pb2.Item()
    try:
        if value.startswith(b"{"):
            _parse_json(value, message)
        else:
            message.ParseFromString(value)
            note_in("Item", message)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        raise BadRecord(f"cannot be read as an Item: {error}") from error
    if problems := check(message, stored=True):
        raise BadRecord("; ".join(f"{name} {problem}" for name, problem in problems))
    if key != message.item_id.encode():
        raise BadRecord(f"its key is not its item id {message.item_id!r}")
    return from_proto(message)


def _parse_json(value: bytes, message: item_pb2.Item) -> None:
    try:
        json_format.Parse(value, message)
    except json_format.ParseError:
        # Only an item that is refused so is looked through for unknown fields, which takes as long as parsing it.
        if not (unknown := names_in_json(json.loads(value), message.DESCRIPTOR)):
            raise
        message.Clear()
        json_format.Parse(value, message, ignore_unknown_fields=True)
        note("Item", [name[:_NAME] for name in unknown])


def _timestamp(time_ms: int | None) -> Timestamp | None:
    if time_ms is None:
        return None
    made = Timestamp()
    made.FromMilliseconds(time_ms)
    return made
