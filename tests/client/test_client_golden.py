"""The wire format of the contract does not change: old messages are parsed, and serialised to the same bytes."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from recstream.v1 import recommendation_service_pb2

GOLDEN = Path(__file__).parent / "golden"
WIRES = sorted(GOLDEN.glob("*.binpb"))
POOL = recommendation_service_pb2.DESCRIPTOR.pool


def message_of(wire: Path) -> Message:
    """Returns an empty message of the kind that the file is named after."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"recstream.v1.{wire.name.split('.')[0]}"))()


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.stem)
def test_golden_messages_are_parsed_and_serialised_to_the_same_bytes(wire: Path):
    message = message_of(wire)
    message.ParseFromString(wire.read_bytes())
    text = json.loads(wire.with_suffix(".json").read_text())
    assert json_format.MessageToDict(message) == text
    assert message.SerializeToString(deterministic=True) == wire.read_bytes()
    assert json_format.ParseDict(text, message_of(wire)) == message


def fields_set(message: Message) -> set[str]:
    """Returns the full names of all fields that are set, including nested ones."""
    names = set()
    for field, value in message.ListFields():
        names.add(field.full_name)
        inner = value if field.is_repeated else [value]
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            names.update(name for each in inner for name in fields_set(each))
    return names


def test_every_field_of_the_contract_is_in_a_golden_file():
    files = [import_module(name).DESCRIPTOR for name in _contract()]
    fields: set[str] = {
        field.full_name
        for file in files
        for kind in file.message_types_by_name.values()
        for field in kind.fields
        if isinstance(field, FieldDescriptor)
    }
    covered: set[str] = set()
    for wire in WIRES:
        message = message_of(wire)
        message.ParseFromString(wire.read_bytes())
        covered |= fields_set(message)
    assert fields - covered == set(), "run tests/client/write_golden.py for these"


def _contract() -> list[str]:
    """The modules of the contract. No other test need have imported them."""
    protos = Path(recommendation_service_pb2.__file__).parents[2]
    paths = sorted((protos / "recstream" / "v1").glob("*.proto"))
    return [f"{'.'.join(path.relative_to(protos).with_suffix('').parts)}_pb2" for path in paths]
