"""What the catalogue counts. `topic` is the name of one of its topics."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("recstream_catalog_records", "Records read from the catalogue's topics", ["topic"])
BAD_RECORDS = Counter(
    "recstream_catalog_bad_records",
    "Records of the catalogue's topics that were skipped as unusable",
    ["topic"],
)
ITEMS = Gauge("recstream_catalog_items", "Items that are known, withdrawn and expired ones included")
VECTORS = Gauge("recstream_catalog_vectors", "Vectors held, of all model versions")
READY = Gauge("recstream_catalog_ready", "1 when the ends of the topics seen at the start are reached")
RECONNECTS = Counter(
    "recstream_catalog_reconnects", "Times that reading the topics began anew after a failure"
)
MERGES = Histogram(
    "recstream_catalog_merge_seconds",
    "Time to build or extend the HNSW index",
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800),
)
