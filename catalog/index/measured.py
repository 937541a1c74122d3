"""The sizes of the indexes as metrics, by model version."""

from collections.abc import Iterable

from catalog import metrics
from catalog.index.live import LiveIndex


def measure_indexes(indexes: Iterable[tuple[int, LiveIndex]], before: frozenset[int]) -> frozenset[int]:
    """Sets the metrics of all indexes, and removes the series of versions in `before` that have no index any more.

    Returns:
        The versions that have an index: `before` of the next call.
    """
    there = set()
    for version, index in indexes:
        there.add(version)
        metrics.INDEX_VECTORS.labels(str(version), "graph").set(index.in_graph)
        metrics.INDEX_VECTORS.labels(str(version), "scanned").set(index.count - index.in_graph)
    for version in before - there:
        metrics.INDEX_VECTORS.remove_by_labels({"version": str(version)})
        metrics.INDEX_BUILT.remove_by_labels({"version": str(version)})
        metrics.INDEX_RECALL.remove_by_labels({"version": str(version)})
    return frozenset(there)
