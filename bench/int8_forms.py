"""What the ways to eight bits cost and lose, on a bundle's item encoder.

    bin/bench int8_forms BUNDLE --interactions FILE --items FILE [--form NAME ...]

Of each: size, microseconds on one core for 32 tokens (1 and 16 rows), how far a vector is from float32's (cosine) and
from itself in another batch (the largest difference of any number), and NDCG@10 of lists by `next-item`. Static scales
are calibrated on 200 texts. `train --protocol next-item` with the same files makes the bundle.
"""

import argparse
import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnxruntime import quantization as q
from rich.console import Console
from rich.table import Table

from configuration.settings import load_settings
from evaluation.data import Data, composition, data_of
from evaluation.methods.composition import Composition
from evaluation.methods.served_model import BundleModel
from evaluation.metrics.measure import ndcg
from evaluation.protocols.split import split
from inference.bundle.bundle import Bundle, read
from inference.bundle.graphs import ITEM_ENCODER
from models.data.events import Floats
from models.export.compression.rewrite import rewrite
from models.export.compression.timing import costs
from models.export.local_graphs import LocalGraphs
from readers.files import read_files

Feed = dict[str, NDArray[np.int64]]


def main() -> None:
    """Makes each form, measures it, prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--form", action="append", choices=list(FORMS))
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # onnxruntime's advice on preparing a graph
    settings, bundle = load_settings(), read(asked.bundle)
    data = data_of(read_files([asked.interactions], [asked.items]), settings)
    test, composed = split(data.known, "next-item"), composition(settings)
    table = Table(
        "form", "MB", "us, 1", "us, 16", "cosine, mean", "least", "other batch", "NDCG@10", box=None
    )
    exact: Floats | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.form or FORMS:
            made = _with(bundle, Path(folder), FORMS[name], data)
            alone, batched = _vectors(made, data)
            exact = alone if exact is None else exact
            cosine = (alone * exact).sum(1) / np.linalg.norm(alone, axis=1) / np.linalg.norm(exact, axis=1)
            cost = costs(made)[ITEM_ENCODER.name]
            model = BundleModel(made, test.known.item_ids, data.items)
            found = ndcg(test, Composition(test, data.items, model, composed))
            table.add_row(
                name, f"{cost.size / 1e6:.1f}", *(f"{cost.microseconds[n]:,.0f}" for n in (1, 16)),
                f"{cosine.mean():.5f}", f"{cosine.min():.5f}", f"{np.abs(alone - batched).max():.0e}", f"{found:.4f}",
            )  # fmt: skip
    Console(width=120).print(table)


def _as_it_is(source: Path, target: Path, feeds: Callable[[], Iterator[Feed]]) -> None:
    shutil.copyfile(source, target)


def _weights(source: Path, target: Path, feeds: Callable[[], Iterator[Feed]]) -> None:
    """What `recstream model compress` does."""
    rewrite(source, target)


def _dequantise_linear(source: Path, target: Path, feeds: Callable[[], Iterator[Feed]]) -> None:
    """The same numbers by ONNX's own node for it."""
    rewrite(source, target)
    model = onnx.load(str(target))
    nodes = []
    for node in model.graph.node:
        name = node.output[0]
        if (
            node.op_type == "Cast"
            and node.input[0] == f"{name.removesuffix(':float')}:int8"
            and "/" not in name
        ):
            continue
        if node.op_type == "Mul" and node.input[1] == f"{name}:scale" and f"{name}:int8" in _initial(model):
            scale = _initial(model)[f"{name}:scale"]
            axis = int(np.argmax(scale.dims))
            del scale.dims[:]
            scale.dims.append(len(scale.raw_data) // 4)
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}:int8", f"{name}:scale"], [name], axis=axis)
            )
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(target))


def _initial(model: onnx.ModelProto) -> Mapping[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _static(leave: str) -> Callable[[Path, Path, Callable[[], Iterator[Feed]]], None]:
    def make(source: Path, target: Path, feeds: Callable[[], Iterator[Feed]]) -> None:
        # onnxruntime brings no types, so the base is Any.
        class Reader(q.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = feeds()

            def get_next(self) -> Feed | None:
                return next(self.left, None)

        model = onnx.load(str(source))
        known = _initial(model)
        products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in known]
        names = [node.name for node in products if not leave or leave not in _place(node.name)]
        q.quantize_static(
            str(source), str(target), Reader(), per_channel=True, nodes_to_quantize=names,
            op_types_to_quantize=["MatMul"], weight_type=q.QuantType.QInt8, activation_type=q.QuantType.QUInt8,
        )  # fmt: skip
        rewrite(target, target)  # tables, and products that were left

    return make


def _place(name: str) -> str:
    """The feed-forward network's second product is told from the attention's by what comes before it."""
    return name.replace("attention/output", "attention-output")


def _dynamic(source: Path, target: Path, feeds: Callable[[], Iterator[Feed]]) -> None:
    q.quantize_dynamic(str(source), str(target), per_channel=True, weight_type=q.QuantType.QInt8)


FORMS: dict[str, Callable[[Path, Path, Callable[[], Iterator[Feed]]], None]] = {
    "float32": _as_it_is,
    "weights": _weights,
    "weights, DequantizeLinear": _dequantise_linear,
    "static": _static(""),
    "static, second of each network by weights": _static("/output/dense"),
    "dynamic": _dynamic,
}


def _with(
    bundle: Bundle,
    folder: Path,
    make: Callable[[Path, Path, Callable[[], Iterator[Feed]]], None],
    data: Data,
) -> Bundle:
    """The bundle with another item encoder."""
    place = folder / str(len(list(folder.iterdir())))
    shutil.copytree(bundle.folder, place)
    name = Path("triton") / ITEM_ENCODER.name / str(bundle.manifest.version) / "model.onnx"

    def feeds() -> Iterator[Feed]:
        for item in data.items[:200]:
            yield _feed(bundle, [item.item_id], [item.text])

    make(bundle.folder / name, place / name, feeds)
    return dataclasses.replace(bundle, folder=place)


def _feed(bundle: Bundle, ids: list[str], texts: list[str]) -> Feed:
    tokens = bundle.tokens(ids, texts)
    return {"input_ids": tokens.ids, "attention_mask": tokens.mask, "item_index": tokens.item_index[:, None]}


def _vectors(bundle: Bundle, data: Data) -> tuple[Floats, Floats]:
    """Of 400 items that nothing was calibrated on: one by one, and sixteen at a time in another order."""
    graphs, items = LocalGraphs(bundle, threads=1), data.items[200:600]
    found = []
    for size in (1, 16):
        order = np.random.default_rng(size).permutation(len(items))
        vectors = np.zeros((len(items), bundle.manifest.width), np.float32)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            part = [items[row] for row in rows]
            feed = _feed(bundle, [item.item_id for item in part], [item.text for item in part])
            vectors[rows] = graphs.run(ITEM_ENCODER, *feed.values())[0]
        found.append(vectors)
    return found[0], found[1]


if __name__ == "__main__":
    main()
