"""Fields that a message has and this release's contract has not: a later release wrote them, or a producer's mistake.

They are passed over, counted, and named in the log. Only filters and rules refuse them, because a list would be another
without them.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import structlog
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]  # no stub has it
from prometheus_client import Counter

from telemetry.labels import LabelValues, LabelValuesOf

log = structlog.get_logger()

REQUEST: Final = "request"
"""What all requests to the server are called."""
MESSAGES: Final = (
    "Interaction",
    "Erasure",
    "Item",
    "ItemVector",
    "ItemStats",
    "Profile",
    "Announcement",
    "SlateRecord",
    "ServedVersions",
    REQUEST,
)
UNKNOWN_FIELDS = Counter(
    "recstream_unknown_fields",
    "Messages that were read with fields which this release does not know, and which were passed over. The log names "
    "the fields",
    ["message"],
)
LABEL_VALUES: Final[LabelValuesOf] = {(UNKNOWN_FIELDS, "message"): LabelValues(MESSAGES)}
for _message in MESSAGES:
    UNKNOWN_FIELDS.labels(_message)

_OURS: Final = "recstream."
_MOST_NAMES: Final = 100
_logged: dict[str, set[str]] = {message: set() for message in MESSAGES}


def unknown_fields(message: Message, leaving: Sequence[Descriptor] = ()) -> Iterator[tuple[str, int]]:
    """Yields the unknown fields of a message and of the messages in it.

    Args:
        message: The message.
        leaving: Messages that are not looked into.

    Returns:
        Pairs of a path and a field's number. The path is that of the message that has the field, such as `boosts[2]`.
        It is empty for the message itself.
    """
    for field in UnknownFieldSet(message):
        yield "", field.field_number
    for name, kind in _messages_in(message.DESCRIPTOR):
        if kind in leaving:
            continue
        value = getattr(message, name)
        if isinstance(value, Message):
            inner = [(name, value)] if message.HasField(name) else []
        elif hasattr(value, "values"):
            inner = [(name, each) for each in value.values()]
        else:
            inner = [(f"{name}[{at}]", each) for at, each in enumerate(value)]
        for path, each in inner:
            for rest, number in unknown_fields(each, leaving):
                yield f"{path}.{rest}" if rest else path, number


@cache
def _messages_in(descriptor: Descriptor) -> tuple[tuple[str, Descriptor], ...]:
    """The fields of a message that hold messages of ours, alone, in a list or in a map."""
    found = []
    for field in descriptor.fields:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            kind = kind.fields_by_name["value"].message_type
        if kind is not None and kind.full_name.startswith(_OURS):
            found.append((field.name, kind))
    return tuple(found)


def names_in(message: Message) -> list[str]:
    """The names of a message's unknown fields, without places in lists: `field 17`, `media.field 9`. In protobuf they
    have only numbers."""
    names = (
        f"{path}.field {number}" if path else f"field {number}" for path, number in unknown_fields(message)
    )
    return list(dict.fromkeys(re.sub(r"\[\d+\]", "", name) for name in names))


def names_in_json(document: dict[str, Any], descriptor: Descriptor) -> list[str]:
    """The names of the unknown fields of a message in JSON, without places in lists and tables."""
    found: dict[str, None] = {}
    for name, value in document.items():
        field = _by_json_name(descriptor).get(name)
        if field is None:
            found[name] = None
            continue
        kind = dict(_messages_in(descriptor)).get(field)
        inner = list(value.values()) if _is_map(descriptor, field) and isinstance(value, dict) else [value]
        if isinstance(value, list):
            inner = value
        if kind is not None:
            for each in inner:
                if isinstance(each, dict):
                    found |= dict.fromkeys(f"{name}.{rest}" for rest in names_in_json(each, kind))
    return list(found)


@cache
def _by_json_name(descriptor: Descriptor) -> dict[str, str]:
    return {name: field.name for field in descriptor.fields for name in (field.name, field.json_name)}


def _is_map(descriptor: Descriptor, name: str) -> bool:
    kind = descriptor.fields_by_name[name].message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def note(kind: str, names: Sequence[str]) -> None:
    """Counts a message, if it has unknown fields. Logs each name once in the life of the process, at most a hundred
    names of a kind.

    Args:
        kind: One of `MESSAGES`.
        names: The names of its unknown fields.
    """
    if not names:
        return
    UNKNOWN_FIELDS.labels(kind).inc()
    logged = _logged[kind]
    for name in names:
        if name not in logged and len(logged) < _MOST_NAMES:
            logged.add(name)
            log.warning("unknown_field", message=kind, field=name, detail="it is passed over")


def note_in(kind: str, message: Message) -> None:
    """Counts a message that was read, if it has unknown fields. See `note`."""
    note(kind, names_in(message))
