"""Reads the declared inputs and outputs of an ONNX file from its protobuf, without the onnx package.

Weights are skipped. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KINDS: Final = {1: "FP32", 2: "UINT8", 7: "INT64"}
_MODEL_GRAPH, _GRAPH_INPUT, _GRAPH_OUTPUT = 7, 11, 12


@dataclass(frozen=True, slots=True)
class Declared:
    """A tensor as the file declares it.

    Attributes:
        kind: Triton's name of its type.
        dims: Each the size, or the name of a dimension of any size.
    """

    kind: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs by name."""

    inputs: dict[str, Declared]
    outputs: dict[str, Declared]


def signature(path: Path) -> Signature:
    """The inputs and outputs of the ONNX file at `path`. Raises ValueError if it cannot be read as ONNX."""
    found = Signature({}, {})
    with path.open("rb") as file:
        # The mapping is closed when the last view of it is gone.
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        for number, value in _fields(view):
            if number == _MODEL_GRAPH and isinstance(value, memoryview):
                _read_graph(value, found)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not an ONNX file: {error}") from error
    if not found.inputs or not found.outputs:
        raise ValueError(f"{path.name} is not an ONNX file: it declares no inputs or no outputs")
    return found


def _read_graph(graph: memoryview, found: Signature) -> None:
    for number, value in _fields(graph):
        if number in (_GRAPH_INPUT, _GRAPH_OUTPUT) and isinstance(value, memoryview):
            name, declared = _value_info(bytes(value))
            (found.inputs if number == _GRAPH_INPUT else found.outputs)[name] = declared


def _value_info(value: bytes) -> tuple[str, Declared]:
    name, kind, dims = "", "unknown", list[int | str]()
    for number, part in _fields(memoryview(value)):
        if number == 1 and isinstance(part, memoryview):
            name = bytes(part).decode()
        elif number == 2 and isinstance(part, memoryview):
            for elem, tensor in _nested(part, 1):
                if elem == 1 and isinstance(tensor, int):
                    kind = _KINDS.get(tensor, f"type {tensor}")
                elif elem == 2 and isinstance(tensor, memoryview):
                    dims = [_dim(dim) for n, dim in _fields(tensor) if n == 1 and isinstance(dim, memoryview)]
    return name, Declared(kind, tuple(dims))


def _nested(value: memoryview, wanted: int) -> Iterator[tuple[int, int | memoryview]]:
    for number, part in _fields(value):
        if number == wanted and isinstance(part, memoryview):
            yield from _fields(part)


def _dim(value: memoryview) -> int | str:
    for number, part in _fields(value):
        if number == 1 and isinstance(part, int):
            return part
        if number == 2 and isinstance(part, memoryview):
            return bytes(part).decode()
    return "free"


def _fields(buffer: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: varints as int, the others as bytes."""
    at, end = 0, len(buffer)
    while at < end:
        key, at = _varint(buffer, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(buffer, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(buffer, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise IndexError(f"wire type {wire} at byte {at}")
        if at + length > end:
            raise IndexError(f"a field at byte {at} ends after the end of the file")
        yield number, buffer[at : at + length]
        at += length


def _varint(buffer: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError(f"a number at byte {at} is longer than 64 bits")
