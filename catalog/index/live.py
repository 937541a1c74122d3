"""An index that changes while it is searched: vectors, a snapshot of the graph, and what came since."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.columns import Table
from catalog.index.exact import best, scan, scan_many
from catalog.index.hnsw import Hnsw, build
from catalog.index.protocol import Floats, Mask, Rows
from catalog.settings import CatalogSettings

# Prices in microseconds, of 64 x float32 on one core: a row gathered, a row read in passing, a call of the
# graph, a node that the graph is asked for. Only their proportions matter.
_GATHER, _PASS, _ASK, _NODE = 0.06, 0.01, 60.0, 0.8
# What is asked for beyond the expected need, and how much more when that was not enough.
_MARGIN, _MORE = 1.3, 2


@dataclass(frozen=True, slots=True)
class Merge:
    """A snapshot to be made: of all rows, or of some more on top of one that is there."""

    base: Hnsw | None
    vectors: Floats
    rows: Rows


class LiveIndex:
    """The vectors of one model version by row. Implements `Index`.

    Few vectors are scanned. Past `exact_below` a graph is built in the background, and until it is there, and
    for whatever it does not hold, searches scan; a search is never without a row because the graph is behind.
    A scan is exact. Where the graph answers, at least 0.9 of a scan's first hundred rows are found on average, with the
    default settings and vectors that lie in clusters as those of items do (`bin/bench growth`).
    Changes and searches belong to the event loop's thread; only `make` may run elsewhere.
    """

    def __init__(self, width: int, settings: CatalogSettings) -> None:
        self.width = width
        self.count = 0
        self._settings = settings
        self._rows = Table()
        self._vectors = self._rows.column(np.float32, 0.0, width)
        self._present = self._rows.column(np.bool_, False)
        self._node = self._rows.column(np.int64, -1)
        self._graph: Hnsw | None = None
        self._in_graph = 0
        self._touched: set[int] | None = None

    @property
    def in_graph(self) -> int:
        """How many of `count` the graph holds; the others are scanned."""
        return self._in_graph

    def put(self, row: int, vector: Floats) -> None:
        """Sets the row's vector [d], finite."""
        self._rows.reserve(row + 1)
        self._vectors.array[row] = vector
        self.count += not self._present.array[row]
        self._present.array[row] = True
        self._leave_graph(row)

    def drop(self, row: int) -> None:
        """Takes the row's vector away."""
        if self.has(row):
            self._present.array[row] = False
            self._vectors.array[row] = 0
            self.count -= 1
            self._leave_graph(row)

    def has(self, row: int) -> bool:
        """Whether the row has a vector."""
        return row < self._rows.capacity and bool(self._present.array[row])

    def present(self, rows: int) -> Mask:
        """Which of the first rows have a vector; read-only and live."""
        return self._present.view(rows)

    def vectors(self, rows: Rows) -> Floats:
        """Vectors [m, d] of the rows, zeros where there is none; a copy."""
        self._rows.reserve(int(rows.max()) + 1 if len(rows) else 0)
        return self._vectors.array[rows]

    def search(self, query: Floats, count: int, mask: Mask) -> tuple[Rows, Floats]:
        allowed = self._allowed(mask)
        rows = len(allowed)
        matching = int(np.count_nonzero(allowed))
        count = min(count, matching)
        if count <= 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        if self._graph is not None:
            scan_price = min(matching * _GATHER, rows * _PASS)
            ask = math.ceil(_MARGIN * count * len(self._graph.rows) / matching)
            while _ASK + ask * _NODE < scan_price:
                found = self._ask(self._graph, query, ask, count, allowed)
                if found is not None:
                    return found
                ask *= _MORE
        return scan(self._vectors.array, allowed, query, count)

    def search_many(self, queries: Floats, counts: Sequence[int], mask: Mask) -> list[tuple[Rows, Floats]]:
        """As `search` for each of the queries [q, d] with its count. Where there is no graph, all of them
        are one scan, whose scores may differ from a single search's in the last bit."""
        if self._graph is not None:
            return [self.search(query, count, mask) for query, count in zip(queries, counts, strict=True)]
        allowed = self._allowed(mask)
        return scan_many(self._vectors.array, allowed, queries, [max(0, count) for count in counts])

    def _allowed(self, mask: Mask) -> Mask:
        rows = min(len(mask), self._rows.capacity)
        return mask[:rows] & self._present.array[:rows]

    def _ask(
        self, graph: Hnsw, query: Floats, ask: int, count: int, allowed: Mask
    ) -> tuple[Rows, Floats] | None:
        """The graph's answer and the rows that it does not hold; None where its share is too small."""
        nodes = graph.nearest(query, ask)
        rows = graph.rows[nodes]
        known = rows < len(allowed)
        rows, nodes = rows[known], nodes[known]
        rows = rows[allowed[rows] & (self._node.array[rows] == nodes)]
        outside = np.flatnonzero(allowed & (self._node.array[: len(allowed)] < 0))
        if len(rows) < min(count, int(np.count_nonzero(allowed)) - len(outside)):
            return None
        rows = np.sort(np.concatenate([rows, outside]))
        return best(rows, self._vectors.array[rows] @ query, count)

    def due(self) -> Merge | None:
        """The merge that is needed now; None: none. Follow it with `make`, then `install` or `abandon`."""
        if self._touched is not None or self.count <= self._settings.exact_below:
            return None
        outside = self.count - self._in_graph
        graph = self._graph
        if graph is not None and outside <= self._settings.merge_share * self.count:
            return None
        # Nodes that are no row's any more are walked through in vain: past a third, begin anew.
        if graph is not None and len(graph.rows) - self._in_graph > self.count // 3:
            graph = None
        rows = self._present.array if graph is None else self._present.array & (self._node.array < 0)
        merge = Merge(graph, self._vectors.array, np.flatnonzero(rows))
        self._touched = set()
        return merge

    def make(self, merge: Merge, wanted: Callable[[], bool]) -> Hnsw:
        """The merge's snapshot. Takes seconds to minutes: call it in a thread.

        Vectors that change meanwhile may be read half old; `install` leaves their rows outside the graph.
        Raises BuildStopped when `wanted()` turns false.
        """
        if merge.base is None:
            return build(self._settings, merge.vectors, merge.rows, wanted)
        return merge.base.extended(merge.vectors, merge.rows, self._settings.build_threads, wanted)

    def install(self, merge: Merge, graph: Hnsw) -> None:
        """Searches use the snapshot from now on."""
        touched = self._touched or set()
        self._touched = None
        self._graph = graph
        if merge.base is None:
            self._node.array[:] = -1
        nodes = np.arange(len(graph.rows) - len(merge.rows), len(graph.rows))
        self._node.array[merge.rows] = nodes
        if touched:
            self._node.array[np.fromiter(touched, np.int64, len(touched))] = -1
        self._in_graph = int(np.count_nonzero(self._node.array >= 0))

    def abandon(self) -> None:
        """The merge failed; it becomes due again."""
        self._touched = None

    def _leave_graph(self, row: int) -> None:
        if self._node.array[row] >= 0:
            self._node.array[row] = -1
            self._in_graph -= 1
        if self._touched is not None:
            self._touched.add(row)
