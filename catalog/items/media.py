"""What an item shows: contents as they travel, hashes as they are kept."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from sys import intern
from typing import Final

from recstream.v1 import item_pb2

MAX_MEDIA: Final = 4
MAX_CONTENT_BYTES: Final = 524_288
# With the rest of the largest item it still makes a record.
MAX_CONTENTS_BYTES: Final = 786_432
MAX_TYPE_BYTES: Final = 128
HASH_BYTES: Final = 16

_MODALITY = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Media:
    """A content of an item; `content` is empty where only its hash is kept."""

    modality: str
    content_hash: bytes
    content: bytes = b""
    content_type: str = ""

    def without_content(self) -> "Media":
        """Its hash alone."""
        return replace(self, content=b"") if self.content else self

    def to_proto(self) -> item_pb2.Media:
        """As answers have it: the hash where there is no content."""
        return item_pb2.Media(
            modality=self.modality,
            content=self.content,
            content_type=self.content_type,
            content_hash=b"" if self.content else self.content_hash,
        )


def from_proto(messages: Iterable[item_pb2.Media]) -> tuple[Media, ...]:
    """The media of messages that `problems` finds nothing wrong with."""
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
    """What is wrong with an item's media. Without content is right only in what is `stored`."""
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
            yield f"{field}.modality", "is not 1 to 32 of a-z, 0-9 and _, a letter first, such as `image`"
        if len(message.content_type.encode()) > MAX_TYPE_BYTES:
            yield f"{field}.content_type", f"has more than {MAX_TYPE_BYTES} bytes"
        if len(message.content) > MAX_CONTENT_BYTES:
            yield f"{field}.content", f"has {len(message.content)} bytes; the limit is {MAX_CONTENT_BYTES}"
        if not message.content and not (stored and len(message.content_hash) == HASH_BYTES):
            yield f"{field}.content", "is empty: put the item with its contents, which answers leave out"
            continue
        key = message.modality, _hash(message)
        if key in seen:
            yield field, "is there twice"
        seen.add(key)


def _hash(message: item_pb2.Media) -> bytes:
    if not message.content:
        return message.content_hash
    return blake2b(message.content, digest_size=HASH_BYTES).digest()
