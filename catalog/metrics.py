"""The catalogue's metrics.

Labels: `topic` is the name of one of its topics. `version` is a model version whose vectors it holds.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from telemetry.labels import LabelValues, LabelValuesOf

RECORDS = Counter("recstream_catalog_records", "Records read from the catalogue's topics", ["topic"])
BAD_RECORDS = Counter(
    "recstream_catalog_bad_records",
    "Records of the catalogue's topics that were skipped because they cannot be used",
    ["topic"],
)
ITEMS = Gauge("recstream_catalog_items", "Known items, including withdrawn and expired ones")
VECTORS = Gauge("recstream_catalog_vectors", "Vectors held, of all model versions")
INDEX_VECTORS = Gauge(
    "recstream_catalog_index_vectors",
    "Vectors of a model version, by how a search finds them: in the graph, or by a scan",
    ["version", "place"],
)
INDEX_BUILT = Gauge(
    "recstream_catalog_index_built_timestamp_seconds",
    "Unix time at which the version's graph was last built or extended; absent while all vectors are scanned",
    ["version"],
)
INDEX_RECALL = Gauge(
    "recstream_catalog_index_recall",
    "Share of a scan's first hundred that the version's graph finds, for the queries of the last searches",
    ["version"],
)
CURRENT = Gauge(
    "recstream_catalog_current_timestamp_seconds",
    "Unix time up to which all records are known to be applied",
)
FOUND_IN: Final = ("graph", "scanned")
READY = Gauge("recstream_catalog_ready", "1 once the topics are read up to the ends they had at the start")
MERGES = Histogram(
    "recstream_catalog_merge_seconds",
    "Time to build or extend the HNSW index",
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800),
)

_TOPICS: Final = LabelValues(
    (),
    "names of the catalogue's topics",
    r".*(items|item-changes|item-vectors|item-stats|model-versions|surfaces)",
)
_VERSIONS: Final = LabelValues((), "versions that have vectors, `catalog.versions` at most", r"\d+")
LABEL_VALUES: Final[LabelValuesOf] = {
    (RECORDS, "topic"): _TOPICS,
    (BAD_RECORDS, "topic"): _TOPICS,
    (INDEX_VECTORS, "version"): _VERSIONS,
    (INDEX_VECTORS, "place"): LabelValues(FOUND_IN),
    (INDEX_BUILT, "version"): _VERSIONS,
    (INDEX_RECALL, "version"): _VERSIONS,
}
