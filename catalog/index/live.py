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
# A graph that finds less of a scan's first hundred, at the price of a scan, is not searched.
_PROMISED = 0.9
_NEVER = 2**31


@dataclass(frozen=True, slots=True)
class Merge:
    """A snapshot to be made and compared with scans: a new graph of `rows`, or a copy of `base` with `rows` added.

    Attributes:
        base: The snapshot to copy. None: make a new one.
        vectors: [n, d].
        rows: The rows to add. Empty, with a `base`: it is only compared again.
        present: All rows that have a vector. The snapshot will have them.
        queries: For each kind of searches, [q, d]: the queries of the last ones.
    """

    base: Hnsw | None
    vectors: Floats
    rows: Rows
    present: Rows
    queries: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A snapshot that was compared with scans.

    Attributes:
        graph: The snapshot.
        found: For each kind of searches: how many nodes a search has to ask for, and the share of a scan's first
            hundred rows that the graph then finds.
    """

    graph: Hnsw
    found: tuple[tuple[int, float], ...]


class Searches:
    """Searches of one kind. Users' vectors lie between the items, and need several times the nodes that items need.

    Attributes:
        asked: The first query of each of the last calls.
        candidates: How many nodes a search asks the graph for at least.
        recall: The share of a scan's first hundred rows that the graph then finds.
    """

    def __init__(self, candidates: int) -> None:
        self.asked: deque[Floats] = deque(maxlen=QUERIES)
        self.candidates = candidates
        self.recall = 1.0


class LiveIndex:
    """The vectors of one model version by row. Implements `Index`.

    Up to `exact_below` vectors are searched by a scan, which is exact. Above that, a graph is built in the background.
    Searches scan until the graph is there, and always scan the rows that it does not hold. A graph that is behind
    therefore never hides a row. The graph finds at least 0.9 of the first hundred rows of a scan on average: each new
    snapshot is compared with scans for the queries of the last searches, and once more when there are enough of those.
    Searches ask for more candidates if they would miss more, and scan if that would cost as much (`bin/bench growth`).

    Changes and searches run on the event loop's thread. Only `make` may run in another one.

    Attributes:
        single: Searches by `search`, such as those for a user.
        several: Searches by `search_many`, such as those for the items that a user liked.
    """

    def __init__(self, width: int, settings: CatalogSettings) -> None:
        self.width = width
        self.count = 0
        self.single = Searches(settings.expansion_search)
        self.several = Searches(settings.expansion_search)
        self._settings = settings
        self._rows = Table()
        self._vectors = self._rows.column(np.float32, 0.0, width)
        self._present = self._rows.column(np.bool_, False)
        self._node = self._rows.column(np.int64, -1)
        self._graph: Hnsw | None = None
        self._in_graph = 0
        self._touched: set[int] | None = None
        # How many queries of each kind the last comparison had.
        self._compared = (0, 0)

    @property
    def recall(self) -> float:
        """The share of a scan's first hundred rows that the newest snapshot found when it was compared, for the kind of
        searches that it serves worse. The queries are those of the last forty calls; before there are so many, also a
        sample of its own vectors. Below 0.9 the graph is not searched."""
        return min(self.single.recall, self.several.recall)

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
        return self._search(query[None], [count], mask, self.single)[0]

    def search_many(self, queries: Floats, counts: Sequence[int], mask: Mask) -> list[tuple[Rows, Floats]]:
        """Runs `search` for each of the queries [q, d] with its count. The rows that are scanned are read once for all
        queries, so scores may differ from those of a single search in the last bit."""
        return self._search(queries, counts, mask, self.several)

    def _search(
        self, queries: Floats, counts: Sequence[int], mask: Mask, kind: Searches
    ) -> list[tuple[Rows, Floats]]:
        rows = min(len(mask), self._rows.capacity)
        allowed = mask[:rows] & self._present.array[:rows]
        matching = int(np.count_nonzero(allowed))
        counts = [max(0, min(count, matching)) for count in counts]
        found: list[tuple[Rows, Floats] | None] = [None] * len(counts)
        if self._graph is not None and any(counts):
            kind.asked.append(queries[0].copy())
            found = self._by_graph(self._graph, queries, counts, allowed, matching, kind.candidates)
        left = [at for at, each in enumerate(found) if each is None]
        if left:
            scanned = scan(self._vectors.array, allowed, queries[left], [counts[at] for at in left])
            for at, each in zip(left, scanned, strict=True):
                found[at] = each
        return [each for each in found if each is not None]

    def _by_graph(
        self,
        graph: Hnsw,
        queries: Floats,
        counts: Sequence[int],
        allowed: Mask,
        matching: int,
        candidates: int,
    ) -> list[tuple[Rows, Floats] | None]:
        """The answers of the graph together with the rows outside it. None for a query whose scan costs less."""
        scan_price = min(matching * _GATHER, len(allowed) * _PASS)
        outside = np.flatnonzero(allowed & (self._node.array[: len(allowed)] < 0))
        # All queries share the pass over the rows outside the graph.
        left_price = scan_price - len(outside) * _GATHER / len(counts)
        if left_price <= _ASK + candidates * _NODE:
            return [None] * len(counts)
        scores = queries @ self._vectors.array[outside].T
        found: list[tuple[Rows, Floats] | None] = []
        for query, count, score in zip(queries, counts, scores, strict=True):
            wanted = min(count, matching - len(outside))
            nodes = max(candidates, math.ceil(_MARGIN * wanted * len(graph.rows) / matching))
            inside = self._inside(graph, query, wanted, nodes, allowed, left_price)
            if inside is None:
                found.append(None)
                continue
            rows = np.sort(np.concatenate([inside, best(outside, score, count)[0]]))
            found.append(best(rows, self._vectors.array[rows] @ query, count))
        return found

    def _inside(
        self, graph: Hnsw, query: Floats, count: int, ask: int, allowed: Mask, price: float
    ) -> Rows | None:
        """At least `count` allowed rows of the graph, approximately the nearest, by asking it for `ask` nodes or more.
        None: they cost more than `price`."""
        if not count:
            return np.empty(0, np.int64)
        while _ASK + ask * _NODE < price:
            rows, nodes = graph.nearest(query, ask)
            known = rows < len(allowed)
            rows, nodes = rows[known], nodes[known]
            found: Rows = rows[allowed[rows] & (self._node.array[rows] == nodes)]
            if len(found) >= count:
                return found
            ask *= _MORE
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
        asked = (len(self.single.asked), len(self.several.asked))
        if not any(now == QUERIES > then for now, then in zip(asked, self._compared, strict=True)):
            return None
        return self._begin(graph, np.empty(0, np.int64), np.flatnonzero(self._present.array))

    def _begin(self, base: Hnsw | None, rows: Rows, present: Rows) -> Merge:
        self._touched = set()
        kinds = (self.single, self.several)
        self._compared = (len(self.single.asked), len(self.several.asked))
        queries = tuple(np.array(kind.asked, np.float32).reshape(-1, self.width) for kind in kinds)
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
        # For more, a scan would be cheaper.
        most = max(least, int((len(merge.present) * _PASS - _ASK) / _NODE))
        return Compared(
            graph,
            tuple(needed(graph, merge.vectors, merge.present, each, least, most) for each in merge.queries),
        )

    def install(self, merge: Merge, made: Compared) -> None:
        """Makes searches use the snapshot from now on."""
        touched = self._touched or set()
        self._touched = None
        self._graph = made.graph
        for kind, (candidates, recall) in zip((self.single, self.several), made.found, strict=True):
            kind.candidates, kind.recall = candidates if recall >= _PROMISED else _NEVER, recall
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
        self._compared = (0, 0)

    def _leave_graph(self, row: int) -> None:
        if self._node.array[row] >= 0:
            self._node.array[row] = -1
            self._in_graph -= 1
        if self._touched is not None:
            self._touched.add(row)
