"""An index that changes while it is searched: the vectors, a snapshot of the graph, and the rows changed since."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.columns import Table
from catalog.index.exact import best, scan
from catalog.index.hnsw import QUERIES, Hnsw, build, needed
from catalog.index.protocol import Floats, Mask, Rows
from catalog.settings import CatalogSettings

# Costs in microseconds, for 64 x float32 on one core: a gathered row, a row in a scan of all rows, a call of the
# graph, a node examined in the graph. Only their proportions matter.
_GATHER, _PASS, _ASK, _NODE = 0.06, 0.01, 60.0, 1.3
# Nodes to request relative to the expected need, and the factor for the next try if they were too few.
_MARGIN, _MORE = 1.3, 2
# A search asks for at most so many times the candidates of the settings. With the defaults, it then costs as much as a
# scan of a hundred and fifty thousand rows.
_WIDEST = 8


@dataclass(frozen=True, slots=True)
class Merge:
    """A snapshot to be made and compared with scans: a new graph of `rows`, or a copy of `base` with `rows` added.

    Attributes:
        base: The snapshot to copy. None: make a new one.
        vectors: [n, d].
        rows: The rows to add. Empty, with a `base`: it is only compared again.
        present: All rows that have a vector. The snapshot will have them.
        queries: [q, d]. The queries of the last searches.
    """

    base: Hnsw | None
    vectors: Floats
    rows: Rows
    present: Rows
    queries: Floats


@dataclass(frozen=True, slots=True)
class Compared:
    """A snapshot that was compared with scans.

    Attributes:
        graph: The snapshot.
        candidates: How many nodes a search has to ask it for.
        recall: The share of a scan's first hundred rows that it then finds.
    """

    graph: Hnsw
    candidates: int
    recall: float


class LiveIndex:
    """The vectors of one model version by row. Implements `Index`.

    Up to `exact_below` vectors are searched by a scan, which is exact. Above that, a graph is built in the background.
    Searches scan until the graph is there, and always scan the rows that it does not hold. A graph that is behind
    therefore never hides a row. The graph finds at least 0.9 of the first hundred rows of a scan on average: each new
    snapshot is compared with scans for the queries of the last searches, and once more when there are enough of those.
    A search asks for more candidates if it would miss more (`bin/bench growth`).

    Changes and searches run on the event loop's thread. Only `make` may run in another one.

    Attributes:
        recall: The share of a scan's first hundred rows that the newest snapshot found when it was compared. The
            queries are those of the last forty calls, one of each; before there are so many, also a sample of its own
            vectors. It is below 0.9 only if eight times the candidates do not suffice.
        candidates: How many nodes a search asks the graph for at least.
    """

    def __init__(self, width: int, settings: CatalogSettings) -> None:
        self.width = width
        self.count = 0
        self.recall = 1.0
        self.candidates = settings.expansion_search
        self._settings = settings
        self._rows = Table()
        self._vectors = self._rows.column(np.float32, 0.0, width)
        self._present = self._rows.column(np.bool_, False)
        self._node = self._rows.column(np.int64, -1)
        self._graph: Hnsw | None = None
        self._in_graph = 0
        self._touched: set[int] | None = None
        self._asked: deque[Floats] = deque(maxlen=QUERIES)
        self._compared_queries = 0

    @property
    def in_graph(self) -> int:
        """How many of the `count` vectors the graph holds. The others are scanned."""
        return self._in_graph

    def put(self, row: int, vector: Floats) -> None:
        """Sets the row's vector [d]. It must be finite."""
        self._rows.reserve(row + 1)
        self._vectors.array[row] = vector
        self.count += not self._present.array[row]
        self._present.array[row] = True
        self._leave_graph(row)

    def drop(self, row: int) -> None:
        """Removes the row's vector, if it has one."""
        if self.has(row):
            self._present.array[row] = False
            self._vectors.array[row] = 0
            self.count -= 1
            self._leave_graph(row)

    def has(self, row: int) -> bool:
        """Whether the row has a vector."""
        return row < self._rows.capacity and bool(self._present.array[row])

    def present(self, rows: int) -> Mask:
        """A read-only view [rows] of the mask of rows that have a vector. It shows later changes until the table
        grows."""
        return self._present.view(rows)

    def vectors(self, rows: Rows) -> Floats:
        """A copy of the rows' vectors, [m, d]. Rows without a vector get zeros."""
        self._rows.reserve(int(rows.max()) + 1 if len(rows) else 0)
        return self._vectors.array[rows]

    def search(self, query: Floats, count: int, mask: Mask) -> tuple[Rows, Floats]:
        return self.search_many(query[None], [count], mask)[0]

    def search_many(self, queries: Floats, counts: Sequence[int], mask: Mask) -> list[tuple[Rows, Floats]]:
        """Runs `search` for each of the queries [q, d] with its count. The rows that are scanned are read once for all
        queries, so scores may differ from those of a single search in the last bit."""
        rows = min(len(mask), self._rows.capacity)
        allowed = mask[:rows] & self._present.array[:rows]
        matching = int(np.count_nonzero(allowed))
        counts = [max(0, min(count, matching)) for count in counts]
        found: list[tuple[Rows, Floats] | None] = [None] * len(counts)
        if self._graph is not None and any(counts):
            self._asked.append(queries[0].copy())
            found = self._by_graph(self._graph, queries, counts, allowed, matching)
        left = [at for at, each in enumerate(found) if each is None]
        if left:
            scanned = scan(self._vectors.array, allowed, queries[left], [counts[at] for at in left])
            for at, each in zip(left, scanned, strict=True):
                found[at] = each
        return [each for each in found if each is not None]

    def _by_graph(
        self, graph: Hnsw, queries: Floats, counts: Sequence[int], allowed: Mask, matching: int
    ) -> list[tuple[Rows, Floats] | None]:
        """The answers of the graph together with the rows outside it. None for a query whose scan costs less."""
        scan_price = min(matching * _GATHER, len(allowed) * _PASS)
        outside = np.flatnonzero(allowed & (self._node.array[: len(allowed)] < 0))
        # All queries share the pass over the rows outside the graph.
        left_price = scan_price - len(outside) * _GATHER / len(counts)
        if left_price <= _ASK + self.candidates * _NODE:
            return [None] * len(counts)
        scores = queries @ self._vectors.array[outside].T
        found: list[tuple[Rows, Floats] | None] = []
        for query, count, score in zip(queries, counts, scores, strict=True):
            inside = self._inside(
                graph, query, min(count, matching - len(outside)), allowed, matching, left_price
            )
            if inside is None:
                found.append(None)
                continue
            rows = np.sort(np.concatenate([inside, best(outside, score, count)[0]]))
            found.append(best(rows, self._vectors.array[rows] @ query, count))
        return found

    def _inside(
        self, graph: Hnsw, query: Floats, count: int, allowed: Mask, matching: int, price: float
    ) -> Rows | None:
        """At least `count` allowed rows of the graph, approximately the nearest. None: they cost more than `price`."""
        if not count:
            return np.empty(0, np.int64)
        nodes_wanted = max(self.candidates, math.ceil(_MARGIN * count * len(graph.rows) / matching))
        while _ASK + nodes_wanted * _NODE < price:
            rows, nodes = graph.nearest(query, nodes_wanted)
            known = rows < len(allowed)
            rows, nodes = rows[known], nodes[known]
            found: Rows = rows[allowed[rows] & (self._node.array[rows] == nodes)]
            if len(found) >= count:
                return found
            nodes_wanted *= _MORE
        return None

    def due(self) -> Merge | None:
        """Begins the merge that is needed now. Call `make` with it, then `install` or `abandon`. None: none is
        needed, or one is in progress."""
        if self._touched is not None or self.count <= self._settings.exact_below:
            return None
        outside = self.count - self._in_graph
        graph = self._graph
        if graph is not None and outside <= self._settings.merge_share * self.count:
            return self._comparison(graph)
        # Searches waste time on stale nodes. If there are more than a third as many as vectors, build a new graph.
        if graph is not None and len(graph.rows) - self._in_graph > self.count // 3:
            graph = None
        present = np.flatnonzero(self._present.array)
        rows = present if graph is None else present[self._node.array[present] < 0]
        return self._begin(graph, rows, present)

    def _comparison(self, graph: Hnsw) -> Merge | None:
        """A comparison for the queries that were asked, if the last one was made before there were enough of them."""
        if self._compared_queries == QUERIES or len(self._asked) < QUERIES:
            return None
        return self._begin(graph, np.empty(0, np.int64), np.flatnonzero(self._present.array))

    def _begin(self, base: Hnsw | None, rows: Rows, present: Rows) -> Merge:
        self._touched = set()
        self._compared_queries = len(self._asked)
        queries = np.array(self._asked, np.float32).reshape(-1, self.width)
        return Merge(base, self._vectors.array, rows, present, queries)

    def make(self, merge: Merge, wanted: Callable[[], bool]) -> Compared:
        """Builds the merge's snapshot, and compares it with scans. Takes seconds to minutes: call it in a thread.

        A vector that changes meanwhile may be read half updated. `install` leaves its row outside the graph.
        Raises BuildStopped when `wanted()` returns false.
        """
        graph = merge.base
        if graph is None:
            graph = build(self._settings, merge.vectors, merge.rows, wanted)
        elif len(merge.rows):
            graph = graph.extended(merge.vectors, merge.rows, self._settings.build_threads, wanted)
        least = self._settings.expansion_search
        return Compared(
            graph, *needed(graph, merge.vectors, merge.present, merge.queries, least, _WIDEST * least)
        )

    def install(self, merge: Merge, made: Compared) -> None:
        """Makes searches use the snapshot from now on."""
        touched = self._touched or set()
        self._touched = None
        self._graph, self.candidates, self.recall = made.graph, made.candidates, made.recall
        if merge.base is None:
            self._node.array[:] = -1
        if len(merge.rows):
            rows, nodes = made.graph.added
            self._node.array[rows] = nodes
        if touched:
            self._node.array[np.fromiter(touched, np.int64, len(touched))] = -1
        self._in_graph = int(np.count_nonzero(self._node.array >= 0))

    def abandon(self) -> None:
        """Ends a merge that failed. It becomes due again."""
        self._touched = None
        self._compared_queries = 0

    def _leave_graph(self, row: int) -> None:
        if self._node.array[row] >= 0:
            self._node.array[row] = -1
            self._in_graph -= 1
        if self._touched is not None:
            self._touched.add(row)
