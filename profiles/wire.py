"""Decodes the value of a record on `interactions` into an Interaction, in each of its wire forms:

    protobuf                the message
    JSON                    the first character is `{`, after blanks or a byte-order mark
    Confluent framing       the first byte is 0, then 4 bytes of schema id, then JSON or protobuf with message indexes
                            (https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop)
    CloudEvents, binary     the header `ce_specversion`; the value is the event's data in one of the forms above
    CloudEvents, structured JSON with the field `specversion`; `data` or `data_base64` holds the interaction
                            (https://github.com/cloudevents/spec, Kafka protocol binding 1.0)
    Kafka Connect           JSON of `schema` and `payload` alone, as its JsonConverter writes; the payload is decoded

Forms may be mixed on a topic. No schema registry is asked: a schema id is passed over. An object in JSON may be one of
another producer, of which a mapping (`profiles.mappings`) makes interactions.
"""

import base64
import json
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]  # no stub has it

from profiles.mappings import EventMapping, NotMapped, mapping_for
from profiles.times import EARLIEST_MS, LATEST_MS, timestamp
from recstream.v1.interaction_pb2 import Interaction
from telemetry.unknown_fields import names_in

_BLANKS: Final = b" \t\r\n"
_FRAME_BYTES: Final = 5
_MOST_INDEXES: Final = 8
# Names of a record's unknown fields that are reported, and their length.
_UNKNOWN, _NAME = 8, 40

_IDS: Final = ("user_id", "item_id", "event_id", "item_ids", "slate_id", "session_id", "order_id")
_KINDS: Final = tuple(field.name for field in Interaction.DESCRIPTOR.oneofs_by_name["kind"].fields)
_CONNECT: Final = {"schema", "payload"}
# The wire type of messages, texts and bytes.
_LENGTH_DELIMITED: Final = 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """The interactions of a record as they were sent. They are not validated.

    Attributes:
        interactions: One, or as many as a mapping makes.
        unknown: Names of fields that it has and the contract has not, at most 8, shortened. A field of a protobuf
            message has only a number: `field 17`. A field of a kind has its path: `undo.reason`.
        later_kind: Whether it is of a kind that only a later release knows: it has no action, no item and no known
            kind, but an unknown field that may be a message.
        mapping: The mapping that made the interactions. None: the record is an interaction itself.
    """

    interactions: tuple[Interaction, ...]
    unknown: tuple[str, ...] = ()
    later_kind: bool = False
    mapping: EventMapping | None = None


class Undecodable(Exception):
    """A value holds no interaction. The message says why."""


class NotProtobuf(Undecodable):
    """A value is neither JSON nor an Interaction in protobuf."""


class NotJson(Undecodable):
    """A value looks like JSON, but is not the JSON form of an Interaction."""


class Unmappable(Undecodable):
    """A mapping takes a value, but makes no interaction of it."""


class NotCloudEvent(Undecodable):
    """A value claims to be a CloudEvent, but is none, or has no interaction as its data."""


def decode(
    value: bytes, headers: Sequence[tuple[str, bytes]], mappings: Sequence[EventMapping] = ()
) -> Decoded:
    """Decodes the value of a record.

    Args:
        value: The record's value.
        headers: The record's headers.
        mappings: The mappings of other producers' records. The first that takes an object in JSON makes its
            interactions.

    Raises:
        NotProtobuf, NotJson, NotCloudEvent, Unmappable: The value holds no interaction.
    """
    if headers and (version := _header(headers, "ce_specversion")) is not None:
        attributes = {name: _header(headers, f"ce_{name}") for name in ("id", "time")}
        return _cloud_event({"specversion": version, **attributes}, _decode(value, mappings))
    return _decode(value, mappings)


def _decode(value: bytes, mappings: Sequence[EventMapping]) -> Decoded:
    if value[:1] == b"\0":
        return _framed(value, mappings)
    if value.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):  # Protobuf has no tags like these.
        return _json(value, mappings)
    text = value.removeprefix(BOM_UTF8).lstrip(_BLANKS)
    if text[:1] not in (b"{", b"["):
        return _protobuf(value, hint=_hint(text))
    try:
        return _json(text, mappings)
    except NotJson:
        # An event id of 123 or 91 bytes begins like a line feed and a bracket. No Interaction is also JSON.
        if value[:1] == b"\n":
            with suppress(NotProtobuf):
                return _protobuf(value)
        raise


def _hint(text: bytes) -> str:
    """What a value that should be protobuf looks like instead. Empty: nothing that producers are known to send."""
    if text[:1] == b'"' and text.rstrip(_BLANKS)[-1:] == b'"':
        return "; it looks like JSON that was encoded twice"
    if text[:2] == b"\x1f\x8b":
        return "; it looks like gzip: let Kafka compress, by the producer's compression.type"
    return ""


def _protobuf(value: bytes, hint: str = "") -> Decoded:
    try:
        interaction = Interaction.FromString(value)
    except DecodeError as cause:
        raise NotProtobuf(f"neither an Interaction in protobuf nor in JSON: {cause}{hint}") from cause
    later_kind = _says_nothing(interaction) and any(
        field.wire_type == _LENGTH_DELIMITED for field in UnknownFieldSet(interaction)
    )
    return Decoded((interaction,), _named(names_in(interaction)), later_kind)


def _says_nothing(interaction: Interaction) -> bool:
    """Whether the fields that are known do not say what happened."""
    return not (interaction.action or interaction.item_id or interaction.WhichOneof("kind"))


def _framed(value: bytes, mappings: Sequence[EventMapping]) -> Decoded:
    """Decodes a value with Confluent's frame."""
    schema = int.from_bytes(value[1:_FRAME_BYTES], "big")
    content = value[_FRAME_BYTES:]
    if content.lstrip(_BLANKS)[:1] == b"{":
        return _json(content.lstrip(_BLANKS), mappings)
    # The indexes say which message of the producer's schema it is. Early serializers wrote them without zigzag coding.
    for zigzag in (True, False):
        start = _after_indexes(content, zigzag)
        if start is not None:
            try:
                return _protobuf(content[start:])
            except NotProtobuf:
                continue
    raise NotProtobuf(
        f"begins like Confluent's wire format with the schema {schema}, but neither an Interaction in JSON nor message "
        "indexes and an Interaction in protobuf follow; Avro is not read"
    )


def _after_indexes(content: bytes, zigzag: bool) -> int | None:
    """Where the message begins after its indexes: their number, then each. A single 0 stands for the first message."""
    found = _varint(content, 0)
    if found is None:
        return None
    count, at = found
    if zigzag:
        count = count >> 1 if not count & 1 else -1
    if not 0 <= count <= _MOST_INDEXES:
        return None
    for _ in range(count):
        found = _varint(content, at)
        if found is None:
            return None
        at = found[1]
    return at


def _varint(content: bytes, at: int) -> tuple[int, int] | None:
    """A varint of at most five bytes, and where it ends."""
    value = 0
    for place, byte in enumerate(content[at : at + 5]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    return None


def _json(text: bytes, mappings: Sequence[EventMapping]) -> Decoded:
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as cause:
        raise NotJson(f"not JSON: {cause}") from cause
    if isinstance(document, list):
        raise NotJson(f"a JSON array of {len(document)} elements; send one interaction a record")
    if not isinstance(document, dict):
        raise NotJson("JSON, but no object")
    if "specversion" in document:
        return _structured(document, mappings)
    if document.keys() == _CONNECT and isinstance(document["payload"], dict):
        return _from_object(document["payload"], mappings)
    return _from_object(document, mappings)


def _structured(document: dict[str, Any], mappings: Sequence[EventMapping]) -> Decoded:
    data = document.get("data")
    encoded = document.get("data_base64")
    if isinstance(data, dict):
        return _cloud_event(document, _from_object(data, mappings))
    if not isinstance(encoded, str):
        raise NotCloudEvent("the CloudEvent has neither an object in `data` nor text in `data_base64`")
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError as cause:
        raise NotCloudEvent(f"`data_base64` of the CloudEvent is not base64: {cause}") from cause
    return _cloud_event(document, _decode(content, mappings))


def _cloud_event(attributes: Mapping[str, object], data: Decoded) -> Decoded:
    """The data, with the CloudEvent's id and time where the data has none."""
    version = attributes["specversion"]
    if not isinstance(version, str) or not version.startswith("1."):
        shown = repr(version[:_NAME]) if isinstance(version, str) else "that is no text"
        raise NotCloudEvent(f"the CloudEvent has the version {shown}; 1.0 is read")
    for interaction in data.interactions:
        if not interaction.event_id and isinstance(identity := attributes.get("id"), str):
            try:
                interaction.event_id = identity
            except ValueError as cause:
                raise NotCloudEvent(f"the CloudEvent's id is no text: {cause}") from cause
        if not interaction.HasField("event_time") and isinstance(time := attributes.get("time"), str):
            interaction.event_time.CopyFrom(_rfc3339("time", time, NotCloudEvent))
    return data


def _from_object(document: dict[str, Any], mappings: Sequence[EventMapping]) -> Decoded:
    """Decodes an interaction in JSON, or a record of another producer for which there is a mapping."""
    mapping = mapping_for(document, mappings)
    if mapping is None:
        interaction, unknown = _interaction(document)
        later_kind = _says_nothing(interaction) and any(isinstance(value, dict) for value in unknown.values())
        return Decoded((interaction,), _named(unknown), later_kind)
    try:
        documents = mapping.apply(document)
    except NotMapped as cause:
        raise Unmappable(str(cause)) from cause
    interactions = []
    for number, each in enumerate(documents):
        try:
            interactions.append(_interaction(each)[0])
        except NotJson as cause:
            raise Unmappable(f"{mapping.place(number)}: {cause}") from cause
    return Decoded(tuple(interactions), mapping=mapping)


def _interaction(document: dict[str, Any]) -> tuple[Interaction, dict[str, Any]]:
    """Reads the JSON form of an Interaction. Ids may be whole numbers, and the time may be one of milliseconds. Returns
    what it does not have as well, by its path."""
    fields, unknown = _fields(document, Interaction.DESCRIPTOR, "")
    time = fields.pop("event_time", None)
    for kind in _KINDS:
        if isinstance(content := fields.get(kind), dict):
            descriptor = Interaction.DESCRIPTOR.fields_by_name[kind].message_type
            fields[kind], inner = _fields(content, descriptor, f"{kind}.")
            unknown |= inner
    try:
        interaction = ParseDict(fields, Interaction())
    except (ParseError, ValueError, TypeError, RecursionError) as cause:
        raise NotJson(f"not the JSON form of an Interaction: {cause}") from cause
    if time is not None:
        interaction.event_time.CopyFrom(_event_time(time))
    return interaction, unknown


def _fields(
    document: dict[str, Any], descriptor: Descriptor, path: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a message by their names, with ids as text; and what the message does not have, by its path."""
    names = _names(descriptor)
    fields: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in document.items():
        field = names.get(name)
        if field is None:
            unknown[path + name] = value
            continue
        if field in fields:
            raise NotJson(f"the field {path}{field} occurs twice")
        if isinstance(value, bool):
            raise NotJson(f"{path}{name} is {value}, which is neither a text nor a number")
        fields[field] = _as_text(value) if field in _IDS else value
    return fields, unknown


@cache
def _names(descriptor: Descriptor) -> Mapping[str, str]:
    """The names of a message's fields by both of their spellings in JSON."""
    return {name: field.name for field in descriptor.fields for name in (field.name, field.json_name)}


def _as_text(value: object) -> object:
    """An id, or a list of ids, with whole numbers as text."""
    if isinstance(value, list):
        return [str(each) if type(each) is int else each for each in value]
    return str(value) if type(value) is int else value


def _event_time(value: object) -> Timestamp:
    """The time of an event in JSON: a text in RFC 3339, or a number of milliseconds since 1970."""
    if isinstance(value, str):
        return _rfc3339("eventTime", value, NotJson)
    if not isinstance(value, int | float):
        raise NotJson(
            "eventTime must be a time in RFC 3339, such as 2030-01-31T12:00:00Z, or milliseconds since 1970"
        )
    if not EARLIEST_MS <= value <= LATEST_MS:  # Nor is what JSON cannot write, NaN and Infinity.
        raise NotJson(
            f"eventTime is {str(value)[:_NAME]}, outside of the years 1 to 9999; a number must be milliseconds since "
            "1970, not microseconds or nanoseconds"
        )
    return timestamp(int(value))


def _rfc3339(name: str, text: str, error: type[Undecodable]) -> Timestamp:
    moment = Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError as cause:
        raise error(
            f"{name} is {text[:_NAME]!r}, not a time in RFC 3339 such as 2030-01-31T12:00:00Z"
        ) from cause
    return moment


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:_NAME]!r} occurs twice")
        found[name] = value
    return found


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name[:_NAME] for name in names})[:_UNKNOWN])


def _header(headers: Sequence[tuple[str, bytes]], name: str) -> str | None:
    return next(
        (value.decode(errors="replace") for key, value in headers if key == name and value is not None), None
    )
