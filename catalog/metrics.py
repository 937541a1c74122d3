"""What the catalogue counts. `topic` is the name of one of its topics, `version` one that it holds vectors of."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from telemetry.labels import LabelValues, LabelValuesOf

RECORDS = Counter("recstream_catalog_records", "Records read from the catalogue's topics", ["topic"])
BAD_RECORDS = Counter(
    "recstream_catalog_bad_records",
    "Records of the catalogue's topics that were skipped as unusable",
    ["topic"],
)
ITEMS = Gauge("recstream_catalog_items", "Items that are known, withdrawn and expired ones included")
VECTORS = Gauge("recstream_catalog_vectors", "Vectors held, of all model versions")
INDEX_VECTORS = Gauge(
    "recstream_catalog_index_vectors",
    "Vectors of a model version by where a search finds them: in the graph, or scanned beside it",
    ["version", "place"],
)
INDEX_BUILT = Gauge(
    "recstream_catalog_index_built_timestamp_seconds",
    "When the version's graph was built or extended last, Unix time; none while all vectors are scanned",
    ["version"],
)
CURRENT = Gauge(
    "recstream_catalog_current_timestamp_seconds",
    "The newest moment, Unix time, of which it is known that all records before it are applied",
)
FOUND_IN: Final = ("graph", "scanned")
READY = Gauge("recstream_catalog_ready", "1 when the ends of the topics seen at the start are reached")
MERGES = Histogram(
    "recstream_catalog_merge_seconds",
    "Time to build or extend the HNSW index",
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800),
)

_TOPICS: Final = LabelValues(
    (), "names of the catalogue's topics", r".*(items|item-vectors|item-stats|model-versions)"
)
_VERSIONS: Final = LabelValues((), "versions that have vectors, `catalog.versions` at most", r"\d+")
LABEL_VALUES: Final[LabelValuesOf] = {
    (RECORDS, "topic"): _TOPICS,
    (BAD_RECORDS, "topic"): _TOPICS,
    (INDEX_VECTORS, "version"): _VERSIONS,
    (INDEX_VECTORS, "place"): LabelValues(FOUND_IN),
    (INDEX_BUILT, "version"): _VERSIONS,
}
