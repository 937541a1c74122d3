"""An item's media. Messages and records carry their contents, memory keeps only their hashes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from sys import intern
from typing import Final

from recstream.v1 import item_pb2

MAX_MEDIA: Final = 4
MAX_CONTENT_BYTES: Final = 524_288
# Together with the other fields of the largest item, this still fits into a record.
MAX_CONTENTS_BYTES: Final = 786_432
MAX_TYPE_BYTES: Final = 128
HASH_BYTES: Final = 16

_MODALITY = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Media:
    """One content of an item. `content` is empty if only its hash is kept."""

    modality: str
    content_hash: bytes
    content: bytes = b""
    content_type: str = ""

    def without_content(self) -> "Media":
        """The same media with only its hash."""
        return replace(self, content=b"") if self.content else self

    def to_proto(self) -> item_pb2.Media:
        """The media as a message: the content, or its hash if the content is not present."""
        return item_pb2.Media(
            modality=self.modality,
            content=self.content,
            content_type=self.content_type,
            content_hash=b"" if self.content else self.content_hash,
        )


def from_proto(messages: Iterable[item_pb2.Media]) -> tuple[Media, ...]:
    """The media of messages. `problems` must have found none in them."""
    return tuple(
        Media(
            intern(message.modality),
            _hash(message),
            message.content,
            intern(message.content_type),
        )
        for message in messages
    )


def problems(media: Iterable[item_pb2.Media], stored: bool) -> Iterable[tuple[str, str]]:
    """The problems of an item's media as (field, problem). Only media of a `stored` item may be without content."""
    media = list(media)
    if len(media) > MAX_MEDIA:
        yield "media", f"has {len(media)} entries; the limit is {MAX_MEDIA}"
        return
    total = sum(len(message.content) for message in media)
    if total > MAX_CONTENTS_BYTES:
        yield "media", f"has {total} bytes of content; the limit is {MAX_CONTENTS_BYTES}"
    seen: set[tuple[str, bytes]] = set()
    for i, message in enumerate(media):
        field = f"media[{i}]"
        if not _MODALITY.fullmatch(message.modality):
            yield (
                f"{field}.modality",
                "is not 1 to 32 of a-z, 0-9 and _, starting with a letter, such as `image`",
            )
        if len(message.content_type.encode()) > MAX_TYPE_BYTES:
            yield f"{field}.content_type", f"has more than {MAX_TYPE_BYTES} bytes"
        if len(message.content) > MAX_CONTENT_BYTES:
            yield f"{field}.content", f"has {len(message.content)} bytes; the limit is {MAX_CONTENT_BYTES}"
        if not message.content and not (stored and len(message.content_hash) == HASH_BYTES):
            yield (
                f"{field}.content",
                "is empty: put the item with its contents; those returned by the API lack them",
            )
            continue
        key = message.modality, _hash(message)
        if key in seen:
            yield field, "is a duplicate"
        seen.add(key)


def _hash(message: item_pb2.Media) -> bytes:
    if not message.content:
        return message.content_hash
    return blake2b(message.content, digest_size=HASH_BYTES).digest()
