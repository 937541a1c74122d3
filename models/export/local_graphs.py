"""Runs a bundle's graphs in this process, without Triton."""

import onnxruntime
from numpy import generic
from numpy.typing import NDArray

from inference.bundle.bundle import Bundle
from inference.bundle.graphs import Graph
from models.data.events import Floats


class LocalGraphs:
    """ONNX Runtime sessions of a bundle's graphs. Each call uses `threads` threads."""

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        self._sessions = {name: self._session(bundle, name, threads) for name in bundle.manifest.graphs()}

    @staticmethod
    def _session(bundle: Bundle, name: str, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = bundle.folder / "triton" / name / str(bundle.manifest.version) / "model.onnx"
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, graph: Graph, *inputs: NDArray[generic]) -> list[Floats]:
        """Runs a graph. Inputs and outputs are in the order of the graph's own."""
        names = [t.name for t in graph.inputs]
        found: list[Floats] = self._sessions[graph.name].run(
            [t.name for t in graph.outputs], dict(zip(names, inputs, strict=True))
        )
        return found
