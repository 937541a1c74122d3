"""Weights in eight bits are at most half a step off, and an int8 graph computes with exactly these weights."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from models.export.compression.int8_graph import quantize, quantize_graph

WEIGHTS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6),
    elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False),
)


@given(WEIGHTS, st.integers(0, 3))
def test_each_weight_is_at_most_half_a_step_of_its_channel_off(weights: np.ndarray, axis: int) -> None:
    axis %= weights.ndim
    found = quantize(weights, axis)
    others = tuple(place for place in range(weights.ndim) if place != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    assert found.values.dtype == np.int8 and found.values.min() >= -127
    assert (np.abs(found.dequantized() - weights) <= largest / 127 * 0.5001 + 1e-37).all()
    # Each channel has its own scale, so the other channels do not matter.
    alone = quantize(np.take(weights, [0], axis), axis)
    np.testing.assert_array_equal(alone.values, np.take(found.values, [0], axis))


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        quantize(np.array([[1.0, np.inf]], np.float32), 0)


def graph(path: Path) -> dict[str, np.ndarray]:
    """A graph with a table, two kinds of products, a convolution, a table that is also a weight, and other tensors."""
    rng = np.random.default_rng(0)
    weights = {
        "table": (20, 8), "product": (8, 12), "turned": (6, 12), "kernel": (4, 1, 3), "both": (6, 6), "added": (1, 6),
        "small": (2, 2),
    }  # fmt: skip
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "product"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "turned"], ["out"], transB=1),
        helper.make_node("Gather", ["both", "classes"], ["class"]),
        helper.make_node("Add", ["out", "class"], ["with_class"]),
        helper.make_node("MatMul", ["with_class", "both"], ["mixed"]),
        helper.make_node("Add", ["mixed", "added"], ["moved"]),
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.array([1], np.int64))),
        helper.make_node("Unsqueeze", ["moved", "one"], ["channelled"]),
        helper.make_node("Conv", ["channelled", "kernel"], ["folded"]),
    ]
    found = helper.make_graph(
        nodes,
        "all",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in ("ids", "classes")],
        [helper.make_tensor_value_info("folded", TensorProto.FLOAT, ["batch", 4, 4])],
        [numpy_helper.from_array(array, name) for name, array in made.items()],
    )
    onnx.save(helper.make_model(found, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return made


def test_a_graph_computes_with_the_rounded_weights_and_keeps_the_rest(tmp_path: Path) -> None:
    made = graph(tmp_path / "float.onnx")
    assert quantize_graph(tmp_path / "float.onnx", tmp_path / "int8.onnx", min_numbers=5) == 4
    left = {each.name: each for each in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer}
    # These stay: one is both a table and a weight, one is added, and one is small.
    assert {name for name in left if ":" not in name} == {"both", "added", "small"}
    assert {left[f"{name}:int8"].data_type for name in ("table", "product", "turned", "kernel")} == {
        TensorProto.INT8
    }
    w = dict(made)
    for name, axis in {"table": 0, "product": 1, "turned": 0, "kernel": 0}.items():
        w[name] = quantize(made[name], axis).dequantized()
    ids, classes = np.array([3, 19, 0, 3]), np.array([5, 0, 1, 1])
    moved = (w["table"][ids] @ w["product"] @ w["turned"].T + w["both"][classes]) @ w["both"] + w["added"]
    windows = np.lib.stride_tricks.sliding_window_view(moved, 3, axis=1)
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {"ids": ids, "classes": classes})[0]
    np.testing.assert_allclose(
        found, np.einsum("bwk,ck->bcw", windows, w["kernel"][:, 0]), rtol=1e-4, atol=1e-4
    )


def test_the_error_names_a_weight_that_is_not_finite(tmp_path: Path) -> None:
    graph(tmp_path / "float.onnx")
    model = onnx.load(str(tmp_path / "float.onnx"))
    for tensor in model.graph.initializer:
        if tensor.name == "product":
            tensor.CopyFrom(numpy_helper.from_array(np.full((8, 12), np.nan, np.float32), "product"))
    onnx.save(model, str(tmp_path / "float.onnx"))
    with pytest.raises(ValueError, match="product: a weight is not finite"):
        quantize_graph(tmp_path / "float.onnx", tmp_path / "int8.onnx", min_numbers=5)
