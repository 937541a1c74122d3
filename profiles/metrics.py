"""The metrics of profiles. Series with a fixed set of label values exist from the start, at zero."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from telemetry.labels import LabelValues, LabelValuesOf

OPERATIONS: Final = (
    "read",
    "read tails",
    "read revisions",
    "write",
    "scan",
    "answer a ping",
    "name itself",
    "name the connection",
    "subscribe",
    "unsubscribe",
    "list subscriptions",
    "remember topics",
    "read topics",
)
OUTCOMES: Final = ("ok", "error", "unavailable", "not_sent")
WRITE_OUTCOMES: Final = ("written", "refused", "unannounced", "failed")

REQUESTS: Final = Counter(
    "recstream_profiles_store_requests_total",
    "Requests to the store, by outcome",
    ["operation", "outcome"],
)
for _operation in OPERATIONS:
    for _outcome in OUTCOMES:
        REQUESTS.labels(_operation, _outcome)
SECONDS: Final = Histogram(
    "recstream_profiles_store_seconds",
    "Duration of requests to the store",
    ["operation"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
)
CONNECTIONS: Final = Counter(
    "recstream_profiles_store_renewed_connections_total",
    "Connections that were replaced because every request on them failed",
)
WRITES: Final = Counter(
    "recstream_profiles_writes_total",
    "Writes of profiles: written, refused by the fence, written but not announced, or failed",
    ["outcome"],
)
for _outcome in WRITE_OUTCOMES:
    WRITES.labels(_outcome)
SCRIPTS: Final = Counter(
    "recstream_profiles_script_reloads_total",
    "Writes that were sent again with the script, because the server did not have it",
)
WRITTEN_BYTES: Final = Histogram(
    "recstream_profiles_written_bytes",
    "Size of a profile's stored value, without the tail",
    buckets=(256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144),
)
CORRUPT: Final = Counter(
    "recstream_profiles_corrupt_total",
    "Stored values that could not be read; the next write replaces them",
)
WATCHED: Final = Gauge("recstream_profiles_watched_users", "Users whose announcements this process receives")
ANNOUNCEMENTS: Final = Counter("recstream_profiles_announcements_total", "Announcements received")
RECONNECTS: Final = Counter(
    "recstream_profiles_announcement_reconnects_total",
    "Reconnects after which watched profiles were read again, because announcements may have been missed",
)

LABEL_VALUES: Final[LabelValuesOf] = {
    (REQUESTS, "operation"): LabelValues(OPERATIONS),
    (REQUESTS, "outcome"): LabelValues(OUTCOMES),
    (SECONDS, "operation"): LabelValues(OPERATIONS),
    (WRITES, "outcome"): LabelValues(WRITE_OUTCOMES),
}
