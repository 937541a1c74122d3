"""The sizes of the indexes as metrics, a version each."""

from collections.abc import Iterable

from catalog import metrics
from catalog.index.live import LiveIndex


def measure_indexes(indexes: Iterable[tuple[int, LiveIndex]], before: frozenset[int]) -> frozenset[int]:
    """Sets the sizes, takes away the series of versions that are gone since `before`, and returns those there are."""
    there = set()
    for version, index in indexes:
        there.add(version)
        metrics.INDEX_VECTORS.labels(str(version), "graph").set(index.in_graph)
        metrics.INDEX_VECTORS.labels(str(version), "scanned").set(index.count - index.in_graph)
    for version in before - there:
        metrics.INDEX_VECTORS.remove_by_labels({"version": str(version)})
        metrics.INDEX_BUILT.remove_by_labels({"version": str(version)})
    return frozenset(there)
