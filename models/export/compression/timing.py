"""Size of a bundle's graphs, and time of a call on one core."""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from inference.bundle.bundle import Bundle
from inference.bundle.graphs import ITEM_ENCODER, RANKER, USER_FOLD, Graph
from models.export.graphs import random_inputs, sizes_of
from models.export.local_graphs import LocalGraphs

BATCHES: Final = (1, 16)
CANDIDATES: Final = 400
TOKENS: Final = 32
_SECONDS: Final = 0.5
_RUNS: Final = 50


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a graph.

    Attributes:
        size: size of its file, in bytes.
        length: tokens, events or candidates of a row; 1 if rows have no length.
        microseconds: time of a call on one core, by batch size. It is the minimum of many calls, because other load
            only adds time.
    """

    size: int
    length: int
    microseconds: dict[int, float]


def costs(bundle: Bundle, *, seconds: float = _SECONDS) -> dict[str, Cost]:
    """Cost of each graph of the bundle, by name.

    Args:
        bundle: the bundle.
        seconds: about how long to measure each graph and batch size.
    """
    graphs, sizes = LocalGraphs(bundle, threads=1), sizes_of(bundle)
    found = {}
    for graph in bundle.manifest.graphs().values():
        length = _length(graph, bundle)
        micros = {}
        for batch in (each for each in BATCHES if each <= graph.max_batch):
            given = random_inputs(graph, sizes, batch, length, np.random.default_rng(0))
            micros[batch] = _shortest(graphs, graph, list(given.values()), seconds) * 1e6
        file = bundle.folder / "triton" / graph.name / str(bundle.manifest.version) / "model.onnx"
        found[graph.name] = Cost(file.stat().st_size, length, micros)
    return found


def _shortest(graphs: LocalGraphs, graph: Graph, given: list[np.ndarray], seconds: float) -> float:
    graphs.run(graph, *given)
    best, runs, end = float("inf"), 0, time.perf_counter() + seconds
    while not runs or (runs < _RUNS and time.perf_counter() < end):
        # CPU time of this process, so that other processes on the core do not count.
        started = time.process_time()
        graphs.run(graph, *given)
        best, runs = min(best, time.process_time() - started), runs + 1
    return best


def _length(graph: Graph, bundle: Bundle) -> int:
    manifest = bundle.manifest
    lengths = {
        ITEM_ENCODER.name: min(TOKENS, manifest.text_tokens),
        USER_FOLD.name: manifest.history,
        RANKER.name: CANDIDATES,
    }
    return lengths.get(graph.name, 1)
