"""An HNSW graph (https://arxiv.org/abs/1603.09320) over a snapshot of the vectors."""

from collections.abc import Callable

import numpy as np
from usearch.index import Index

from catalog.index.protocol import Floats, Rows
from catalog.settings import CatalogSettings

# Between chunks, a build checks whether it is still wanted.
_CHUNK = 2000


class BuildStopped(Exception):
    """The build was stopped because it is no longer wanted."""


class Hnsw:
    """An immutable snapshot. Nodes are numbered in the order they are added, and `rows[node]` is the row of a node. A
    row whose vector changed has an old node and a new one. The caller knows which is valid."""

    def __init__(self, graph: Index, rows: Rows) -> None:
        self._graph = graph
        self.rows = rows

    def nearest(self, query: Floats, count: int) -> Rows:
        """Approximately the `count` nearest nodes by dot product, in no particular order."""
        found = self._graph.search(query, min(count, len(self.rows)))
        return np.asarray(found.keys, dtype=np.int64)

    def extended(self, vectors: Floats, rows: Rows, threads: int, wanted: Callable[[], bool]) -> "Hnsw":
        """A new snapshot with nodes added for `rows` of the vectors. Takes seconds: call it in a thread.

        Raises BuildStopped when `wanted()` returns false.
        """
        return _add(self._graph.copy(), self.rows, vectors, rows, threads, wanted)


def build(settings: CatalogSettings, vectors: Floats, rows: Rows, wanted: Callable[[], bool]) -> Hnsw:
    """A snapshot of `rows` of the vectors [n, d]. Takes seconds to minutes: call it in a thread.

    Raises BuildStopped when `wanted()` returns false.
    """
    graph = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=settings.connectivity,
        expansion_add=settings.expansion_add,
        expansion_search=settings.expansion_search,
    )
    return _add(graph, np.empty(0, dtype=np.int64), vectors, rows, settings.build_threads, wanted)


def _add(
    graph: Index, have: Rows, vectors: Floats, rows: Rows, threads: int, wanted: Callable[[], bool]
) -> Hnsw:
    for start in range(0, len(rows), _CHUNK):
        if not wanted():
            raise BuildStopped
        chunk = rows[start : start + _CHUNK]
        first = len(have) + start
        nodes = np.arange(first, first + len(chunk), dtype=np.uint64)
        graph.add(nodes, vectors[chunk], threads=threads)
    return Hnsw(graph, np.concatenate([have, rows]))
