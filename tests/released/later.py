"""A later release of the contract, made at test time: each message has more fields, each enum another value, each oneof
another member."""

from collections.abc import Iterable

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.message import Message

from tests.released.forms import contract

OURS = "recstream."
TEXT, NUMBER, PART, PARTS, KIND, VALUE = (
    "later_text",
    "later_number",
    "later_part",
    "later_parts",
    "later_kind",
    1_000,
)
_FIRST_NUMBER = 1_000


def later_contract() -> FileDescriptorSet:
    """The files of the contract as a later release may have them."""
    files = contract()
    for file in files.file:
        if not file.package.startswith(OURS):
            continue
        part = f".{file.package}.Later{file.name.rsplit('/', 1)[1].removesuffix('.proto').title().replace('_', '')}"
        for message in file.message_type:
            _grow(message, part)
        for enum in file.enum_type:
            _grow_enum(enum)
        made = file.message_type.add(name=part.rsplit(".", 1)[1])
        _field(made, "text", FieldDescriptorProto.TYPE_STRING, 1)
    return files


def _grow(message: DescriptorProto, part: str) -> None:
    for inner in message.nested_type:
        if not inner.options.map_entry:
            _grow(inner, part)
    for enum in message.enum_type:
        _grow_enum(enum)
    _field(message, TEXT, FieldDescriptorProto.TYPE_STRING, _FIRST_NUMBER)
    _field(message, NUMBER, FieldDescriptorProto.TYPE_INT64, _FIRST_NUMBER + 1)
    _field(message, PART, FieldDescriptorProto.TYPE_MESSAGE, _FIRST_NUMBER + 2, part)
    parts = _field(message, PARTS, FieldDescriptorProto.TYPE_MESSAGE, _FIRST_NUMBER + 3, part)
    parts.label = FieldDescriptorProto.LABEL_REPEATED
    for at in _real_oneofs(message):
        name = f"{KIND}_{message.oneof_decl[at].name}"
        _field(
            message, name, FieldDescriptorProto.TYPE_MESSAGE, _FIRST_NUMBER + 4 + at, part
        ).oneof_index = at


def _real_oneofs(message: DescriptorProto) -> Iterable[int]:
    """The oneofs that the file names: an `optional` field has one of its own too."""
    made = {field.oneof_index for field in message.field if field.proto3_optional}
    return (at for at in range(len(message.oneof_decl)) if at not in made)


def _grow_enum(enum: EnumDescriptorProto) -> None:
    enum.value.add(name=f"{enum.value[0].name}_LATER", number=VALUE)


def _field(
    message: DescriptorProto, name: str, kind: int, number: int, part: str = ""
) -> FieldDescriptorProto:
    field = message.field.add(
        name=name,
        json_name=json_name(name),
        type=kind,  # type: ignore[arg-type]
        number=number,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    if part:
        field.type_name = part
    return field


def json_name(name: str) -> str:
    """A field's name in JSON."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in later_contract().file:
        pool.Add(file)
    return pool


POOL = _pool()


def later(message: Message) -> Message:
    """The message as a later release may write it: with more fields in it and in all messages that it holds."""
    kind = message_factory.GetMessageClass(POOL.FindMessageTypeByName(message.DESCRIPTOR.full_name))
    made = kind.FromString(message.SerializeToString())
    _fill(made)
    return made


def later_kind(message: Message, oneof: str) -> Message:
    """The message with a member of a oneof that only a later release has."""
    made = later(message)
    getattr(made, f"{KIND}_{oneof}").text = "x"
    return made


def later_json(message: Message) -> bytes:
    """The message of a later release in JSON."""
    return json_format.MessageToJson(later(message)).encode()


def _fill(message: Message) -> None:
    for field, value in message.ListFields():
        for inner in _messages(field, value):
            if inner.DESCRIPTOR.full_name.startswith(OURS):
                _fill(inner)
    setattr(message, TEXT, "ünknown")
    setattr(message, NUMBER, 2**60)
    getattr(message, PART).text = "x"
    getattr(message, PARTS).add(text="y")


def _messages(field: FieldDescriptor, value: object) -> Iterable[Message]:
    if field.message_type is None:
        return ()
    if field.message_type.GetOptions().map_entry:
        return [each for each in value.values() if isinstance(each, Message)]  # type: ignore[attr-defined]
    return [value] if isinstance(value, Message) else list(value)  # type: ignore[call-overload]
