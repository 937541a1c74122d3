"""Resume tokens: what the client of a stream has, so that the next stream goes on from there."""

from dataclasses import dataclass
from typing import Final

from recstream.storage.v1 import token_pb2 as storage
from server.tokens.positions import Watermarks, decode, encode
from server.tokens.sealing import BadToken, Kind, Sealer

MAX_RESUME_TOKEN_BYTES: Final = 512
_MOST_BODY_BYTES: Final = 360
"""So that the token has at most 512 bytes. There is room for the watermarks of 40 partitions of one topic."""


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """The list that a client has, and the events that it includes.

    Attributes:
        list_digest: The digest of the list, 16 bytes.
        watermarks: The watermarks of its profile. None: they are unknown.
    """

    list_digest: bytes
    watermarks: Watermarks | None


def encode_place(place: StreamPlace, user_id: str, sealer: Sealer) -> str:
    """Return the token of a place. Watermarks that have no room are left out."""
    message = storage.StreamPlace(list_digest=place.list_digest)
    if place.watermarks is not None:
        message.watermarks.CopyFrom(encode(place.watermarks))
        if message.ByteSize() > _MOST_BODY_BYTES:
            message.ClearField("watermarks")
    return sealer.seal(Kind.STREAM, message.SerializeToString(deterministic=True), user_id)


def decode_place(token: str, user_id: str, sealer: Sealer) -> StreamPlace | None:
    """Return the place of a token. None: the token is empty or not valid, so the stream begins with a snapshot.

    It is not refused, because a stream must also go on after the keys have changed.
    """
    try:
        _, body = sealer.open(token, (Kind.STREAM,), user_id)
    except BadToken:
        return None
    message = storage.StreamPlace.FromString(body)
    watermarks = decode(message.watermarks) if message.HasField("watermarks") else None
    return StreamPlace(message.list_digest, watermarks)
