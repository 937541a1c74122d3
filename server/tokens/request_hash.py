"""A hash of a request, by which a page token is recognised as one of the same request."""

import hashlib
from typing import Final

from google.protobuf.message import Message

_BYTES: Final = 8


def request_hash(request: Message) -> bytes:
    """Return 8 bytes that identify the fields of a request."""
    return hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=_BYTES).digest()
