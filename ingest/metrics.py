"""The metrics of ingest.

Labels are bounded: names of this file, enumerations, partitions and live versions. Series with labels from a fixed set
exist from the start, at zero."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from profiles.interactions import Reason
from telemetry.labels import (
    ACTIONS,
    ANSWERING_VERSIONS,
    LIVE_VERSIONS,
    PARTITIONS,
    SLATE_SURFACES,
    LabelValues,
    LabelValuesOf,
)

RETRY_CAUSES: Final = ("store", "contention", "dead_letter", "error")
STAGES: Final = ("read", "fold", "model", "write", "batch")
OUTCOMES: Final = ("applied", "no_effect", "duplicate", "rejected", "later_kind", "unknown_action")
PROFILE_SOURCES: Final = ("cache", "store")
CHANGE_OUTCOMES: Final = ("applied", "superseded", "rejected")
STATES_HOW: Final = ("step", "fold", "stale")
WORKERS: Final = ("store", "interactions", "catalogue", "statistics", "items", "quality")
BAD_KEY: Final = "key"
BAD_ITEM: Final = "item"
ITEM_FAULT: Final = "fault"
NOT_EMBEDDED: Final = "not_embedded"
LETTER_REASONS: Final = {
    "interactions": tuple(reason.value for reason in Reason),
    "items": (BAD_KEY, BAD_ITEM, ITEM_FAULT, NOT_EMBEDDED),
}
"""Reasons of dead letters by source."""

RECORDS = Counter(
    "recstream_ingest_records_total",
    "Records of interactions, by outcome. One that a mapping made several events of counts for each.",
    ["outcome"],
)
"""outcome: applied; no_effect (a known event id, too late, or erased); duplicate (at or below a watermark, so applied
before); rejected (a dead letter); later_kind (an event of a kind that only a later release knows, passed over);
unknown_action (an event of an action that the settings do not have, passed over)."""
RECORDS_OF = {outcome: RECORDS.labels(outcome) for outcome in OUTCOMES}
STAGE_SECONDS = Histogram(
    "recstream_ingest_stage_seconds",
    "Time of a batch, by stage.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0),
)
STAGE = {stage: STAGE_SECONDS.labels(stage) for stage in STAGES}
PROFILES = Counter(
    "recstream_ingest_profiles_total",
    "Profiles that records were folded onto, by source.",
    ["source"],
)
"""source: cache (this process wrote the profile last), store (the profile was read)."""
PROFILES_FROM = {source: PROFILES.labels(source) for source in PROFILE_SOURCES}
RECORD_AGE_SECONDS = Histogram(
    "recstream_ingest_record_age_seconds",
    "From a record's Kafka timestamp to its profile's acknowledged write, for the oldest record of each batch.",
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
for _cause in RETRY_CAUSES:
    RETRIES.labels(_cause)
ABANDONED = Counter(
    "recstream_ingest_batches_abandoned_total", "Batches left to the next owner of their partitions."
)
COMMIT_FAILURES = Counter("recstream_ingest_commit_failures_total", "Commits of offsets that failed.")
REWINDS = Counter("recstream_ingest_rewinds_total", "Partitions that were rewound because the store changed.")
LOST = Counter("recstream_ingest_lost_records_total", "Records that Kafka deleted before they were read.")
LAG = Gauge(
    "recstream_ingest_lag_records",
    "Records not applied yet, for each partition that this process holds.",
    ["partition"],
)
LAG_SECONDS = Gauge(
    "recstream_ingest_lag_seconds",
    "Age of the oldest record not applied yet, for each partition that this process holds; 0: none.",
    ["partition"],
)
ASSIGNED = Gauge("recstream_ingest_assigned_partitions", "Partitions that this process holds.")
DEAD_LETTERS = Counter(
    "recstream_ingest_dead_letters_total", "Dead letters, by source and reason.", ["source", "reason"]
)
for _source, _reasons in LETTER_REASONS.items():
    for _reason in _reasons:
        DEAD_LETTERS.labels(_source, _reason)
CLOCKS_AHEAD = Counter(
    "recstream_ingest_clocks_ahead_total",
    "Interactions whose time was ahead of their record's by more than profiles.max_skew_seconds, and was replaced.",
)
STATES = Counter("recstream_ingest_states_total", "Model states written, by how they were computed.", ["how"])
"""how: step, fold, stale."""
STATES_BY = {how: STATES.labels(how) for how in STATES_HOW}
STALE_USERS = Gauge("recstream_ingest_stale_users", "Users who wait for the sweeper.")
REFOLDED = Counter("recstream_ingest_refolded_total", "States that the sweeper refolded.")
MIGRATED = Counter(
    "recstream_ingest_profiles_migrated_total",
    "Profiles that got a state of a new model version from the migration.",
)
MIGRATING = Gauge(
    "recstream_ingest_profiles_migrating",
    "1 while the scan of the store runs and has found profiles without a state of a live model version.",
)
MODEL_SHARE = Gauge(
    "recstream_ingest_model_share", "Share of users that each model version answers.", ["version"]
)
EMBEDDED = Counter("recstream_ingest_items_embedded_total", "Items embedded.")
MEDIA_UNREADABLE = Counter(
    "recstream_ingest_media_unreadable_total",
    "Unreadable media of items, such as images; the items were embedded without them.",
)
UNCHANGED = Counter("recstream_ingest_items_unchanged_total", "Items read whose vector is up to date.")
ITEM_CHANGES = Counter("recstream_ingest_item_changes_total", "Changes of items, by outcome.", ["outcome"])
"""outcome: applied; superseded (older than what is known, or a repeat); rejected (it cannot be used)."""
ITEM_CHANGES_BY = {outcome: ITEM_CHANGES.labels(outcome) for outcome in CHANGE_OUTCOMES}
ITEMS_CORRECTED = Counter(
    "recstream_ingest_items_corrected_total",
    "Items that were written again, because another producer wrote an older record to the topic of items.",
)
ITEM_CHANGES_LOST = Counter(
    "recstream_ingest_item_changes_lost_total", "Changes of items that Kafka deleted before they were read."
)
COUNTED = Counter("recstream_ingest_positives_counted_total", "Positive events counted into item statistics.")
UNCOUNTED = Counter(
    "recstream_ingest_positives_uncounted_total",
    "Positive events that were not counted: their items are new, and ingest.statistics_keys is reached.",
)
READY = Gauge("recstream_ingest_ready", "1 while the component is ready.", ["component"])
RESTARTS = Counter(
    "recstream_ingest_worker_restarts_total", "Workers that failed and were started again.", ["worker"]
)
for _worker in WORKERS:
    RESTARTS.labels(_worker)

POSITIONS: Final = (*map(str, range(10)), "10-19", "20-49", "50+")
QUALITY_OUTCOMES: Final = (
    "counted",
    "duplicate",
    "no_impression",
    "no_slate",
    "unknown_slate",
    "other_user",
    "not_on_slate",
)
QUALITY_EVENTS = Counter(
    "recstream_quality_events_total",
    "Seen items and actions of users, by the outcome of joining them to the slate that they name.",
    ["outcome"],
)
"""outcome: counted; duplicate (counted for this position before); no_impression (an action on a position without an
impression so far); no_slate (the event names none); unknown_slate (not in memory); other_user (another user got
the slate); not_on_slate (the slate does not have the item)."""
QUALITY_EVENT = {outcome: QUALITY_EVENTS.labels(outcome) for outcome in QUALITY_OUTCOMES}
SENT = Counter(
    "recstream_quality_sent_total",
    "Positions of sent slates, seen or not.",
    ["surface", "version", "position"],
)
IMPRESSIONS = Counter(
    "recstream_quality_impressions_total",
    "Positions of slates that clients report as seen, each once.",
    ["surface", "version", "position"],
)
RESPONSES = Counter(
    "recstream_quality_responses_total",
    "Seen positions whose item got a positive action naming the slate, each once.",
    ["surface", "version", "position"],
)
EXPECTED = Counter(
    "recstream_quality_expected_actions_total",
    "Sum of the ranker's probabilities of the action over seen positions.",
    ["action", "version"],
)
OBSERVED = Counter(
    "recstream_quality_observed_actions_total",
    "Seen positions of ranked slates on which the action happened, each once.",
    ["action", "version"],
)
SLATES_IN_MEMORY = Gauge(
    "recstream_quality_slates_in_memory", "Slates that this process holds in memory, to join actions to."
)

_POSITIONS: Final = LabelValues(POSITIONS)
_COMPONENTS: Final = LabelValues(
    ("process", "catalog", "model", "store", "kafka", "interactions", "statistics", "items", "quality"),
    "`catalogue of model` and a live version",
    r"catalogue of model \d+",
)
LABEL_VALUES: Final[LabelValuesOf] = {
    (RECORDS, "outcome"): LabelValues(OUTCOMES),
    (STAGE_SECONDS, "stage"): LabelValues(STAGES),
    (PROFILES, "source"): LabelValues(PROFILE_SOURCES),
    (RETRIES, "cause"): LabelValues(RETRY_CAUSES),
    (LAG, "partition"): PARTITIONS,
    (LAG_SECONDS, "partition"): PARTITIONS,
    (DEAD_LETTERS, "source"): LabelValues(tuple(LETTER_REASONS)),
    (DEAD_LETTERS, "reason"): LabelValues(
        tuple(reason for reasons in LETTER_REASONS.values() for reason in reasons)
    ),
    (STATES, "how"): LabelValues(STATES_HOW),
    (ITEM_CHANGES, "outcome"): LabelValues(CHANGE_OUTCOMES),
    (MODEL_SHARE, "version"): LIVE_VERSIONS,
    (READY, "component"): _COMPONENTS,
    (RESTARTS, "worker"): LabelValues(WORKERS),
    (QUALITY_EVENTS, "outcome"): LabelValues(QUALITY_OUTCOMES),
    **{
        (metric, label): values
        for metric in (SENT, IMPRESSIONS, RESPONSES)
        for label, values in (
            ("surface", SLATE_SURFACES),
            ("version", ANSWERING_VERSIONS),
            ("position", _POSITIONS),
        )
    },
    **{
        (metric, label): values
        for metric in (EXPECTED, OBSERVED)
        for label, values in (("action", ACTIONS), ("version", ANSWERING_VERSIONS))
    },
}
