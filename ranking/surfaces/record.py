"""A version of the surfaces, and its record on the topic `surfaces`."""

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from catalog.errors import BadRecord
from ranking.settings import Surfaces
from ranking.surfaces.document import BadSurfaces, parse_json, to_json
from recstream.storage.v1 import surfaces_pb2

FORMAT: Final = 1
_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class SurfacesVersion:
    """A version of the surfaces.

    Attributes:
        version: Its number, from 1.
        surfaces: The surfaces. None: each process takes those of its settings.
        applied_at_ms: When it was applied, Unix milliseconds.
        applied_by: Who applied it.
        comment: Why.
    """

    version: int
    surfaces: Surfaces | None
    applied_at_ms: int = 0
    applied_by: str = ""
    comment: str = ""


def key_of(version: int) -> bytes:
    """The key of a version's record."""
    return str(version).encode()


def version_in(key: bytes | None) -> int | None:
    """The version in a record's key. None: the key is not that of a version."""
    if key is None or not key.isdigit() or len(key) > _DIGITS or key.startswith(b"0"):
        return None
    return int(key)


def encode(version: SurfacesVersion) -> bytes:
    """The value of a version's record."""
    return surfaces_pb2.SurfacesVersion(
        format=FORMAT,
        version=version.version,
        applied_at_ms=version.applied_at_ms,
        applied_by=version.applied_by,
        comment=version.comment,
        surfaces="" if version.surfaces is None else to_json(version.surfaces),
    ).SerializeToString(deterministic=True)


def decode(key: bytes | None, value: bytes) -> SurfacesVersion:
    """Parses and checks a record. Raises BadRecord."""
    number = version_in(key)
    if number is None:
        raise BadRecord("its key is not the number of a version")
    try:
        message = surfaces_pb2.SurfacesVersion.FromString(value)
    except DecodeError as error:
        raise BadRecord(f"cannot be read as SurfacesVersion: {error}") from error
    if message.format != FORMAT:
        raise BadRecord(f"it has the format {message.format}, this release knows {FORMAT}")
    if message.version != number:
        raise BadRecord(f"it is version {message.version} under the key {number}")
    try:
        surfaces = parse_json(message.surfaces) if message.surfaces else None
    except BadSurfaces as error:
        raise BadRecord(error.reason) from error
    return SurfacesVersion(number, surfaces, message.applied_at_ms, message.applied_by, message.comment)
