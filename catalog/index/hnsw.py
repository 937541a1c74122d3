"""An HNSW graph (https://arxiv.org/abs/1603.09320) over a snapshot of the vectors."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from catalog.index.protocol import Floats, Rows
from catalog.settings import CatalogSettings

# Between chunks, a build checks whether it is still wanted.
_CHUNK: Final = 2000
# Rows of one array operation elsewhere: memory for copies stays small.
_PART: Final = 65_536
QUERIES: Final = 40
"""Queries that a snapshot is compared with."""
_BEST, _ROUNDING = 100, 1e-5
# The recall of the sample above which a graph is wide enough. The sample errs by some hundredths, so it is above the
# recall that `LiveIndex` promises.
_AIM: Final = 0.95
_NONE: Final = np.empty(0, dtype=np.int64)
_NO_FLOATS: Final = np.empty(0, dtype=np.float32)
# Vectors are alike in length if at most one in a hundred has less than so much of the longest squared length.
_ALIKE, _FEW_SHORTER = 0.98, 0.01
Hashes = NDArray[np.uint64]


class BuildStopped(Exception):
    """The build was stopped because it is no longer wanted."""


class Hnsw:
    """An immutable snapshot: nodes, numbered in the order they are added, and the rows of each.

    Rows of equal vectors share a node. As separate nodes they would link only to each other, and a search that reaches
    them could not leave. Items without a text have such vectors. A row whose vector changed is still listed under its
    old node; the caller knows which node of a row is valid.

    Vectors of different lengths get one more number in the graph, which makes them equally long. A query has 0 there,
    so the products stay the same. A graph over inner products of unequal lengths leads searches to the longest vectors
    only (Bachrach et al. 2014, https://doi.org/10.1145/2645710.2645741).

    Attributes:
        rows: The rows, ordered by node.
        added: The rows that were added last and their nodes, [2, m].
    """

    def __init__(
        self, graph: Index, longest: float | None, rows: Rows, nodes: Rows, hashes: Hashes, added: Rows
    ) -> None:
        """
        Args:
            graph: The nodes.
            longest: The squared length that vectors get in the graph. None: they keep their own.
            rows: Rows, in any order.
            nodes: The node of each row.
            hashes: The hash of each node's vector.
            added: As the attribute.
        """
        order = np.argsort(nodes, kind="stable")
        self.rows = rows[order]
        self.added = added
        self._graph = graph
        self._longest = longest
        self._nodes = nodes[order]
        self._hashes = hashes
        self._starts = np.searchsorted(self._nodes, np.arange(len(hashes) + 1))

    def nearest(self, query: Floats, count: int) -> tuple[Rows, Rows]:
        """The rows of approximately the `count` nearest nodes by dot product, in no particular order, and the node of
        each row."""
        if self._longest is not None:
            query = np.append(query, np.float32(0))
        found = self._graph.search(query, min(count, len(self._hashes)))
        nodes = np.asarray(found.keys, dtype=np.int64)
        counts = self._starts[nodes + 1] - self._starts[nodes]
        ends = np.cumsum(counts)
        at = np.repeat(self._starts[nodes] - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
        return self.rows[at], self._nodes[at]

    def extended(self, vectors: Floats, rows: Rows, threads: int, wanted: Callable[[], bool]) -> "Hnsw":
        """A new snapshot that also has `rows` of the vectors. Takes seconds: call it in a thread.

        A row whose vector changes in the meantime may be left out. Raises BuildStopped when `wanted()` returns false.
        """
        graph = self._graph.copy()
        hashes = _hashes(vectors, rows)
        nodes, fresh = _numbered(self._hashes, hashes)
        for start in range(0, len(fresh), _CHUNK):
            if not wanted():
                raise BuildStopped
            chunk = fresh[start : start + _CHUNK]
            lengthened = _lengthened(vectors[rows[chunk]], self._longest)
            graph.add(nodes[chunk].astype(np.uint64), lengthened, threads=threads)
        shared = np.delete(np.arange(len(rows)), fresh)
        # The vector in the graph decides, not the hash: the two were read at different times.
        equal = np.ones(len(rows), np.bool_)
        for start in range(0, len(shared), _CHUNK):
            chunk = shared[start : start + _CHUNK]
            held = np.asarray(graph.get(nodes[chunk].astype(np.uint64)))
            equal[chunk] = (held[:, : vectors.shape[1]] == vectors[rows[chunk]]).all(axis=1)
        added = np.stack([rows[equal], nodes[equal]])
        # A row that got its former vector back is listed under that node already.
        width = 1 + max(int(each.max(initial=0)) for each in (self.rows, rows))
        others = ~np.isin(self._nodes * width + self.rows, added[1] * width + added[0])
        return Hnsw(
            graph,
            self._longest,
            np.concatenate([self.rows[others], added[0]]),
            np.concatenate([self._nodes[others], added[1]]),
            np.concatenate([self._hashes, hashes[fresh]]),
            added,
        )


def build(settings: CatalogSettings, vectors: Floats, rows: Rows, wanted: Callable[[], bool]) -> Hnsw:
    """A snapshot of `rows` of the vectors [n, d]. Takes seconds to minutes: call it in a thread.

    Raises BuildStopped when `wanted()` returns false.
    """
    squared = np.concatenate(
        [_squared(vectors[rows[at : at + _PART]]) for at in range(0, len(rows), _PART)] or [_NO_FLOATS]
    )
    longest = float(squared.max(initial=0))
    alike = np.count_nonzero(squared < _ALIKE * longest) <= _FEW_SHORTER * len(rows)
    graph = Index(
        ndim=vectors.shape[1] + (not alike),
        metric="ip",
        dtype="f32",
        connectivity=settings.connectivity,
        expansion_add=settings.expansion_add,
        expansion_search=settings.expansion_search,
    )
    nothing = Hnsw(
        graph, None if alike else longest, _NONE, _NONE, np.empty(0, np.uint64), np.empty((2, 0), np.int64)
    )
    return nothing.extended(vectors, rows, settings.build_threads, wanted)


def _squared(vectors: Floats) -> Floats:
    """The squared lengths [m] of vectors [m, d]."""
    squared: Floats = np.einsum("md,md->m", vectors, vectors)
    return squared


def _lengthened(vectors: Floats, longest: float | None) -> Floats:
    """Vectors [m, d + 1] of the squared length `longest`. Longer ones keep their length. None: the same vectors."""
    if longest is None:
        return vectors
    missing = np.sqrt(np.maximum(longest - _squared(vectors), 0))
    return np.concatenate([vectors, missing[:, None]], axis=1)


def needed(
    graph: Hnsw, vectors: Floats, rows: Rows, queries: Floats, least: int, most: int
) -> tuple[int, float]:
    """How many nodes a search has to ask for, so that the graph finds nearly all of a scan's first hundred rows.

    A graph needs more as it grows, and fewer once its vectors form clusters. Queries far from all vectors, such as
    those of users with many interests, need several times as many as queries near some of them. It takes as long as
    the scans of forty queries: call it in a thread.

    Args:
        graph: A snapshot that has the `rows` of the vectors [n, d], and no others that are still valid.
        vectors: [n, d].
        rows: The rows.
        queries: [q, d]. The first forty are compared. If there are fewer, a sample of the vectors fills them up.
        least: The number to begin with.
        most: The number at which the search for it ends.

    Returns:
        The number, and the share of a scan's first hundred rows that the graph then finds.
    """
    sample = np.random.default_rng(0).choice(
        rows, min(len(rows), max(0, QUERIES - len(queries))), replace=False
    )
    queries = np.concatenate([queries[:QUERIES], vectors[sample]])
    count = min(len(rows), _BEST)
    highest = np.empty((0, len(queries)), np.float32)
    for at in range(0, len(rows), _PART):
        highest = np.concatenate([highest, vectors[rows[at : at + _PART]] @ queries.T])
        highest = np.partition(highest, max(0, len(highest) - count), axis=0)[-count:]
    asked = least
    while True:
        found = 0
        for query, score in zip(queries, highest.min(axis=0), strict=True):
            nearest = np.unique(graph.nearest(query, asked)[0])
            found += min(count, int(np.count_nonzero(vectors[nearest] @ query >= score - _ROUNDING)))
        share = found / (count * len(queries))
        if share >= _AIM or asked >= most:
            return asked, share
        asked = min(asked * 3 // 2, most)


def _hashes(vectors: Floats, rows: Rows) -> Hashes:
    """A hash of each row's vector. Vectors of equal bits have equal hashes."""
    factors = np.random.default_rng(0).integers(2**63, size=vectors.shape[1], dtype=np.uint64) | np.uint64(1)
    return np.concatenate(
        [
            (vectors[rows[at : at + _PART]].view(np.uint32) * factors).sum(axis=1, dtype=np.uint64)
            for at in range(0, len(rows), _PART)
        ]
        or [np.empty(0, np.uint64)]
    )


def _numbered(held: Hashes, hashes: Hashes) -> tuple[Rows, Rows]:
    """Numbers the node of each hash: a node that has the hash already, or one new node for equal hashes.

    Returns:
        The nodes [m], and the indices of the hashes whose nodes are new, in the order of the nodes.
    """
    _, first, inverse = np.unique(np.concatenate([held, hashes]), return_index=True, return_inverse=True)
    firsts = first[inverse[len(held) :]] - len(
        held
    )  # The first index of each hash; negative if a node has it.
    fresh = np.flatnonzero(firsts == np.arange(len(hashes)))
    nodes = np.empty(len(hashes), np.int64)
    nodes[fresh] = len(held) + np.arange(len(fresh))
    return np.where(firsts < 0, firsts + len(held), nodes[np.maximum(firsts, 0)]), fresh
