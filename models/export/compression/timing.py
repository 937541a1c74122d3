"""How large a bundle's graphs are, and how long they take on one core."""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from inference.bundle.bundle import Bundle
from inference.bundle.graphs import ITEM_ENCODER, RANKER, USER_FOLD, Graph
from models.export.graphs import inputs, sizes_of
from models.export.local_graphs import LocalGraphs

BATCHES: Final = (1, 16)
CANDIDATES: Final = 400
TOKENS: Final = 32
_SECONDS: Final = 0.5
_RUNS: Final = 50


@dataclass(frozen=True, slots=True)
class Cost:
    """A graph's file in bytes, and the microseconds of a call on one core by its batch: the shortest of many, since
    what else the machine does only ever adds. length: tokens, events or candidates of each row, 1 where a row has no
    length."""

    size: int
    length: int
    microseconds: dict[int, float]


def costs(bundle: Bundle, *, seconds: float = _SECONDS) -> dict[str, Cost]:
    """Of each graph of the bundle, by name. seconds: spent on each graph and batch, about."""
    graphs, sizes = LocalGraphs(bundle, threads=1), sizes_of(bundle)
    found = {}
    for graph in bundle.manifest.graphs().values():
        length = _length(graph, bundle)
        micros = {}
        for batch in (each for each in BATCHES if each <= graph.max_batch):
            given = inputs(graph, sizes, batch, length, np.random.default_rng(0))
            micros[batch] = _shortest(graphs, graph, list(given.values()), seconds) * 1e6
        file = bundle.folder / "triton" / graph.name / str(bundle.manifest.version) / "model.onnx"
        found[graph.name] = Cost(file.stat().st_size, length, micros)
    return found


def _shortest(graphs: LocalGraphs, graph: Graph, given: list[np.ndarray], seconds: float) -> float:
    graphs.run(graph, *given)
    best, runs, end = float("inf"), 0, time.perf_counter() + seconds
    while not runs or (runs < _RUNS and time.perf_counter() < end):
        # Of this process alone: a core that others use too is not a slower one.
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
