"""What ingest measures, in one list. Labels are bounded: names of this file or enumerations."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RETRY_CAUSES: Final = ("store", "contention", "dead_letter", "error")
STAGES: Final = ("read", "fold", "model", "write", "batch")

RECORDS = Counter(
    "recstream_ingest_records_total", "Records of interactions, by what became of them.", ["outcome"]
)
"""outcome: applied (with effect), passed (a repeat, too late, without effect), before (at or below a watermark),
refused (a dead letter)."""
STAGE_SECONDS = Histogram(
    "recstream_ingest_stage_seconds",
    "Time of a batch, by stage.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0),
)
PROFILES = Counter(
    "recstream_ingest_profiles_total",
    "Profiles that records were folded onto, by where they came from.",
    ["source"],
)
"""source: remembered (this process wrote it last), read (from the store)."""
RECORD_AGE_SECONDS = Histogram(
    "recstream_ingest_record_age_seconds",
    "From a record's Kafka timestamp to its profile's acknowledged write; the oldest of each batch.",
    buckets=(
        0.001,
        0.002,
        0.004,
        0.008,
        0.016,
        0.032,
        0.064,
        0.128,
        0.256,
        0.512,
        1.0,
        4.0,
        16.0,
        64.0,
        600.0,
    ),
)
BATCH_RECORDS = Histogram(
    "recstream_ingest_batch_records",
    "Records of a batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
WRITES_REFUSED = Counter("recstream_ingest_writes_refused_total", "Profile writes that the fence refused.")
RETRIES = Counter("recstream_ingest_batch_retries_total", "Batches tried again, by cause.", ["cause"])
ABANDONED = Counter(
    "recstream_ingest_batches_abandoned_total", "Batches left to the next owner of their partitions."
)
COMMIT_FAILURES = Counter("recstream_ingest_commit_failures_total", "Commits of offsets that failed.")
REWINDS = Counter(
    "recstream_ingest_rewinds_total", "Times that a part was read again because the store changed."
)
LOST = Counter("recstream_ingest_lost_records_total", "Records that Kafka deleted before they were read.")
LAG = Gauge(
    "recstream_ingest_lag_records",
    "Records not yet applied, by partition that this process holds.",
    ["partition"],
)
ASSIGNED = Gauge("recstream_ingest_assigned_partitions", "Partitions that this process holds.")
DEAD_LETTERS = Counter(
    "recstream_ingest_dead_letters_total", "Dead letters, by source and reason.", ["source", "reason"]
)
STATES = Counter("recstream_ingest_states_total", "Model states written, by how they came about.", ["how"])
"""how: step, fold, stale."""
STALE_USERS = Gauge("recstream_ingest_stale_users", "Users waiting for the sweeper.")
REFOLDED = Counter("recstream_ingest_refolded_total", "States that the sweeper refolded.")
MOVED = Counter(
    "recstream_ingest_profiles_moved_total", "Profiles that the mover gave a state of a version new to them."
)
MOVING = Gauge(
    "recstream_ingest_profiles_moving",
    "1 while a look through the store finds profiles that have yet to move.",
)
MODEL_SHARE = Gauge(
    "recstream_ingest_model_share", "Share of users by the model version that answers them.", ["version"]
)
EMBEDDED = Counter("recstream_ingest_items_embedded_total", "Items embedded.")
MEDIA_UNREADABLE = Counter(
    "recstream_ingest_media_unreadable_total",
    "Contents of items, such as images, that could not be read; the items were embedded without them.",
)
UNCHANGED = Counter("recstream_ingest_items_unchanged_total", "Items whose text has its vector already.")
COUNTED = Counter("recstream_ingest_positives_counted_total", "Positive events counted into item statistics.")
UNCOUNTED = Counter("recstream_ingest_positives_uncounted_total", "Positive events of items past the bound.")
READY = Gauge("recstream_ingest_ready", "1 while the component is in order.", ["component"])
RESTARTS = Counter(
    "recstream_ingest_worker_restarts_total", "Workers that failed and were started again.", ["worker"]
)
