"""Writes an ONNX graph whose large weights are int8 with a scale for each channel. It computes in float32.

A weight becomes int8 numbers, a cast, and a product with its scales. A table of embeddings is looked up in int8, and
only the looked-up rows become float32. Activations are not rounded, so a row's result does not depend on its batch.

The operators are plain ones on purpose. ONNX Runtime folds them when it loads the graph, which then computes as fast as
before. `DequantizeLinear` would be a single node, but ONNX Runtime 1.32 does not fold it: before a product it inserts
an operator that also rounds activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from models.data.events import Floats

MIN_WEIGHT_NUMBERS: Final = 65_536
"""The smallest weight that is worth rounding: 256 KB in float32."""
_INT8_MAX: Final = 127


@dataclass(frozen=True, slots=True)
class Quantized:
    """A weight in eight bits.

    Attributes:
        values: int8, with the weight's shape.
        scales: float32, with as many dimensions, each of length one except the channel's.
    """

    values: NDArray[np.int8]
    scales: Floats

    def dequantized(self) -> Floats:
        """The float32 weight that values and scales represent."""
        found: Floats = self.values.astype(np.float32) * self.scales
        return found


def quantize(weights: Floats, axis: int) -> Quantized:
    """Rounds symmetrically to the nearest step. A step is 1/127 of the channel's largest weight.

    Args:
        weights: a tensor of any shape.
        axis: axis of the channels.

    Raises:
        ValueError: a weight is not finite.
    """
    if not np.isfinite(weights).all():
        raise ValueError("a weight is not finite")
    other_axes = tuple(each for each in range(weights.ndim) if each != axis % weights.ndim)
    largest = np.abs(weights).max(axis=other_axes, keepdims=True)
    # A channel of zeros, or of numbers so small that their step would underflow, becomes zeros.
    scales = np.maximum(largest / _INT8_MAX, np.finfo(np.float32).tiny).astype(np.float32)
    values = np.clip(np.rint(weights / scales), -_INT8_MAX, _INT8_MAX).astype(np.int8)
    return Quantized(values, scales)


def quantize_graph(source: Path, target: Path, min_numbers: int = MIN_WEIGHT_NUMBERS) -> int:
    """Writes the graph `source` to `target` with its large weights in int8.

    Initializers that are neither a weight nor an embedding table stay as they are.

    Args:
        source: an ONNX file.
        target: the file to write.
        min_numbers: size of the smallest weight that is rounded, in numbers.

    Returns:
        How many weights were rounded.

    Raises:
        ValueError: a weight is not finite.
    """
    model = onnx.load(str(source))
    graph = model.graph
    uses = _uses(graph)
    replaced: dict[int, list[onnx.NodeProto]] = {}
    prepended: list[onnx.NodeProto] = []
    count = 0
    for tensor in list(graph.initializer):
        is_float = tensor.data_type == onnx.TensorProto.FLOAT
        if not is_float or len(tensor.dims) < 2 or prod(tensor.dims) < min_numbers:
            continue
        used = uses.get(tensor.name, [])
        is_table = bool(used) and all(_is_lookup(use) for use in used)
        axis = 0 if is_table else _channel_axis(used, len(tensor.dims))
        if axis is None:
            continue
        try:
            quantized = quantize(numpy_helper.to_array(tensor), axis)
        except ValueError as error:
            raise ValueError(f"{source.name}: {tensor.name}: {error}") from error
        _replace(graph, tensor, quantized)
        if is_table:
            for use in used:
                replaced[use.index] = _lookup(tensor.name, use.node)
        else:
            prepended += _dequantize(tensor.name)
        count += 1
    nodes = [each for index, node in enumerate(graph.node) for each in replaced.get(index, [node])]
    del graph.node[:]
    graph.node.extend([*prepended, *nodes])
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(target))
    return count


@dataclass(frozen=True, slots=True)
class _Use:
    """An initializer is input number `position` of the node at `index` in the graph's order."""

    node: onnx.NodeProto
    index: int
    position: int


def _uses(graph: onnx.GraphProto) -> dict[str, list[_Use]]:
    found: dict[str, list[_Use]] = {}
    for index, node in enumerate(graph.node):
        for position, name in enumerate(node.input):
            found.setdefault(name, []).append(_Use(node, index, position))
    return found


def _is_lookup(use: _Use) -> bool:
    return use.node.op_type == "Gather" and use.position == 0 and _attribute(use.node, "axis") == 0


def _channel_axis(used: Sequence[_Use], dims: int) -> int | None:
    """The axis of a weight's output channels; None if the initializer is not a weight."""
    axes = set()
    for use in used:
        kind = use.node.op_type
        if kind == "MatMul" and use.position == 1:
            axes.add(dims - 1)
        elif kind == "Gemm" and use.position == 1:
            axes.add(0 if _attribute(use.node, "transB") else 1)
        elif kind == "Conv" and use.position == 1:
            axes.add(0)
        else:
            return None
    return axes.pop() if len(axes) == 1 else None


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), 0)


def _replace(graph: onnx.GraphProto, tensor: onnx.TensorProto, quantized: Quantized) -> None:
    name = tensor.name
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(quantized.values, f"{name}:int8"))
    graph.initializer.append(numpy_helper.from_array(quantized.scales, f"{name}:scale"))


def _dequantize(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [f"{name}:int8"], [f"{name}:float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}:float", f"{name}:scale"], [name]),
    ]


def _lookup(name: str, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    rows, out = node.input[1], node.output[0]
    return [
        helper.make_node("Gather", [f"{name}:int8", rows], [f"{out}:int8"]),
        helper.make_node("Gather", [f"{name}:scale", rows], [f"{out}:scale"]),
        helper.make_node("Cast", [f"{out}:int8"], [f"{out}:float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}:float", f"{out}:scale"], [out]),
    ]
