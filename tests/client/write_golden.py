"""Writes missing golden wire files: a message of each kind, with every field set.

Existing files are never changed, because they are what earlier versions sent. After you add a field, run
`PYTHONPATH=protos python tests/client/write_golden.py` and commit the new files, `.v2` and so on. Delete none.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import any_pb2, duration_pb2, json_format, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2

from recstream.v1 import (
    catalog_service_pb2,
    filter_pb2,
    frame_pb2,
    interaction_pb2,
    interaction_service_pb2,
    item_pb2,
    profile_pb2,
    profile_service_pb2,
    recommendation_service_pb2,
    slate_pb2,
)

GOLDEN = Path(__file__).parent / "golden"
FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (
        catalog_service_pb2,
        filter_pb2,
        frame_pb2,
        interaction_pb2,
        interaction_service_pb2,
        item_pb2,
        profile_pb2,
        profile_service_pb2,
        recommendation_service_pb2,
        slate_pb2,
    )
)


def kinds() -> Iterator[Descriptor]:
    """Returns every message of the contract."""
    for file in FILES:
        yield from file.message_types_by_name.values()


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_choice(field: FieldDescriptor) -> bool:
    """Whether the field is in an explicit oneof, and not in that of an `optional`."""
    oneof = field.containing_oneof
    return oneof is not None and not oneof.name.startswith("_")


def variants(kind: Descriptor) -> dict[str, Message]:
    """Returns the messages by file name, with every field set, one for each choice of the oneof."""
    choices = [field.name for field in kind.fields if is_choice(field)]
    if not choices:
        return {kind.name: filled(kind)}
    return {f"{kind.name}.{choice}": filled(kind, choice) for choice in choices}


def filled(kind: Descriptor, choice: str = "", depth: int = 0) -> Message:
    """Returns a message with every field set to a different value, the same each time."""
    message = GetMessageClass(kind)()
    if isinstance(message, any_pb2.Any):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field="interaction.user_id", description="is blank"
        )
        message.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        return message
    if isinstance(message, duration_pb2.Duration | timestamp_pb2.Timestamp):
        # Within the range of their JSON form, and in whole milliseconds, because a Date of TypeScript has no more.
        message.seconds, message.nanos = (1 << 33) + depth, (120 + depth) * 1_000_000
        return message
    for field in kind.fields:
        if is_choice(field) and field.name != (choice or field.containing_oneof.fields[0].name):
            continue
        if is_map(field):
            # One entry, because the wire order of several is not defined.
            value = field.message_type.fields_by_name["value"]
            getattr(message, field.name)[f"{field.name}-key"] = scalar(value, depth)
        elif field.message_type is not None:
            target = getattr(message, field.name)
            for place in range(2 if field.is_repeated else 1):
                part = target.add() if field.is_repeated else target
                part.SetInParent()
                part.CopyFrom(filled(field.message_type, depth=depth + 1 + place))
        elif field.is_repeated:
            getattr(message, field.name).extend([scalar(field, depth), scalar(field, depth + 1)])
        else:
            setattr(message, field.name, scalar(field, depth))
    return message


def scalar(field: FieldDescriptor, depth: int) -> object:
    """Returns a value that tells fields apart. If the type allows it, it exceeds 32 bits or ASCII."""
    number = field.number * 10 + depth
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"{field.name}-{depth}-é世\U0001f3ac"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes([0, 255, number % 256]) + b"\0"
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return -number / 3
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_ENUM:
        return 1 + number % (len(field.enum_type.values) - 1)
    if field.type == FieldDescriptor.TYPE_INT64:
        return (1 << 40) + number
    if field.type == FieldDescriptor.TYPE_FIXED64:
        return (1 << 63) + number
    assert field.type == FieldDescriptor.TYPE_INT32, field.full_name
    return number


def main() -> None:
    """Writes the missing files."""
    GOLDEN.mkdir(exist_ok=True)
    for kind in kinds():
        for name, message in variants(kind).items():
            wire = message.SerializeToString(deterministic=True)
            path = GOLDEN / f"{name}.binpb"
            earlier = [path, *GOLDEN.glob(f"{name}.v*.binpb")] if path.exists() else []
            if wire in [each.read_bytes() for each in earlier]:
                continue
            if earlier:
                path = GOLDEN / f"{name}.v{len(earlier) + 1}.binpb"
            path.write_bytes(wire)
            text = json_format.MessageToDict(message)
            path.with_suffix(".json").write_text(json.dumps(text, indent=2, ensure_ascii=False) + "\n")
            print(f"wrote {path.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
