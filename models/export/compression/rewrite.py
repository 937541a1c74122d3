"""An ONNX graph with its large weights in int8, computing in float32.

A weight becomes int8 numbers, a cast and a product with its scales; a table of embeddings is looked up in int8, and
only the rows that are asked for become float32. No activation is rounded, so no result depends on what else is in a
batch. The operators are ONNX's plain ones: ONNX Runtime folds those on weights when it loads the graph, which then
computes as fast as before. `DequantizeLinear` would say the same in one node, but is not folded: ONNX Runtime 1.32
replaces it, before a product, by one that rounds activations as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import onnx
from onnx import helper, numpy_helper

from models.export.compression.quantise import Quantised, quantised

LEAST: Final = 65_536
"""Numbers of a weight that is worth rounding: 256 KB in float32."""


@dataclass(frozen=True, slots=True)
class _Use:
    """An initializer is the input `place` of the node at `index` in the graph's order."""

    node: onnx.NodeProto
    index: int
    place: int


def rewrite(source: Path, target: Path, least: int = LEAST) -> int:
    """Writes to `target` the graph of `source` with every weight of `least` numbers and more in int8; returns how many
    weights. What is not used as a weight or a table stays as it is. Raises ValueError for weights that are no numbers.
    """
    model = onnx.load(str(source))
    graph = model.graph
    uses = _uses(graph)
    in_place: dict[int, list[onnx.NodeProto]] = {}
    first: list[onnx.NodeProto] = []
    done = 0
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2 or prod(tensor.dims) < least:
            continue
        used = uses.get(tensor.name, [])
        table = bool(used) and all(_looks_up(use) for use in used)
        axis = 0 if table else _channel(used, len(tensor.dims))
        if axis is None:
            continue
        try:
            small = quantised(numpy_helper.to_array(tensor), axis)
        except ValueError as error:
            raise ValueError(f"{source.name}: {tensor.name}: {error}") from error
        _replace(graph, tensor, small)
        if table:
            for use in used:
                in_place[use.index] = _lookup(tensor.name, use.node)
        else:
            first += _dequantised(tensor.name)
        done += 1
    nodes = [each for index, node in enumerate(graph.node) for each in in_place.get(index, [node])]
    del graph.node[:]
    graph.node.extend([*first, *nodes])
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(target))
    return done


def _uses(graph: onnx.GraphProto) -> dict[str, list[_Use]]:
    found: dict[str, list[_Use]] = {}
    for index, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            found.setdefault(name, []).append(_Use(node, index, place))
    return found


def _looks_up(use: _Use) -> bool:
    return use.node.op_type == "Gather" and use.place == 0 and _attribute(use.node, "axis") == 0


def _channel(used: Sequence[_Use], dims: int) -> int | None:
    """Along which axis of a weight one output's numbers lie apart from another's; None where it is no weight."""
    axes = set()
    for use in used:
        kind = use.node.op_type
        if kind == "MatMul" and use.place == 1:
            axes.add(dims - 1)
        elif kind == "Gemm" and use.place == 1:
            axes.add(0 if _attribute(use.node, "transB") else 1)
        elif kind == "Conv" and use.place == 1:
            axes.add(0)
        else:
            return None
    return axes.pop() if len(axes) == 1 else None


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), 0)


def _replace(graph: onnx.GraphProto, tensor: onnx.TensorProto, small: Quantised) -> None:
    name = tensor.name
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(small.values, f"{name}:int8"))
    graph.initializer.append(numpy_helper.from_array(small.scales, f"{name}:scale"))


def _dequantised(name: str) -> list[onnx.NodeProto]:
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
