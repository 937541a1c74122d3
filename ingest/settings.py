"""The settings of ingest."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from profiles.mappings import MOST_MAPPINGS, EventMapping


class IngestSettings(BaseModel):
    """Settings of the ingest process and its workers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    health_host: str = Field("127.0.0.1", description="Address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9100, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; 0: any free"
    )

    batch_records: int = Field(500, ge=1, le=10_000, description="Most records in a batch")
    poll_ms: int = Field(
        500, ge=1, le=10_000, description="Longest wait for a batch; the first event ends it"
    )
    fetch_wait_ms: int = Field(
        250,
        ge=1,
        le=5_000,
        description="Longest time that the broker holds an empty fetch; the first event ends it",
    )
    session_timeout_ms: int = Field(
        10_000, ge=1_000, description="Time without heartbeats after which a consumer loses its partitions"
    )
    revoke_timeout_ms: int = Field(
        5_000,
        ge=100,
        description="Time that a batch has to finish when partitions move; less than the session timeout",
    )
    commit_interval_ms: float = Field(
        100,
        ge=0,
        description="Time between commits of offsets; after a crash, uncommitted records are read again, and dropped",
    )
    commit_timeout_ms: int = Field(2_000, ge=50, description="Longest wait for one commit of offsets")

    model_budget_ms: float = Field(
        50,
        gt=0,
        description="Longest wait of a batch for the model; then profiles are written with stale states",
    )
    profile_cache_size: int = Field(
        10_000,
        ge=0,
        description="Profiles that are cached after a write, 4 to 20 KB each, so that a user's next event need not "
        "read them; 0: none",
    )
    write_attempts: int = Field(
        8,
        ge=1,
        le=100,
        description="Attempts to write profiles that others change meanwhile, before backing off",
    )
    backoff_ms: float = Field(
        50, gt=0, description="First pause before a failed batch is tried again; it doubles, with jitter"
    )
    backoff_max_ms: float = Field(
        5_000, gt=0, description="Longest pause before a failed batch is tried again"
    )
    rewind_seconds: float = Field(
        10,
        ge=0,
        description="How far ingest rewinds after the store restarts or fails over, in seconds of writes",
    )
    store_check_ms: float = Field(1_000, gt=0, description="Time between checks of the store")
    topic_check_seconds: float = Field(5, gt=0, description="Time between checks of the topics' ids")
    mappings: tuple[EventMapping, ...] = Field(
        default=(),
        max_length=MOST_MAPPINGS,
        description="How JSON records of other producers become events; the first that takes a record makes them. "
        "A name of a ready-made one (`segment`, `rudderstack`, `ga4`, `snowplow`), or an object of `name`, `when`, "
        "`fields`, and perhaps `each` and `actions`: see docs/producers.md",
    )
    dead_letters_in_a_row: int = Field(
        1_000,
        ge=0,
        description="Ingest stops if for a minute no record of a topic could be used, and more than these came",
    )

    stale_users: int = Field(
        100_000, ge=1, description="Most users with stale states in memory; above it the store is scanned"
    )
    sweep_batch: int = Field(64, ge=1, le=1_000, description="States refolded in one call")
    sweep_interval_ms: float = Field(200, gt=0, description="Time between the sweeper's rounds")
    sweep_timeout_ms: float = Field(2_000, gt=0, description="Longest refold by the sweeper")

    embed_batch: int = Field(32, ge=1, le=1_000, description="Items embedded in one call")
    embed_timeout_ms: float = Field(30_000, gt=0, description="Longest time to embed one batch")

    statistics_batch: int = Field(
        2_000, ge=1, le=100_000, description="Most records in a transaction of statistics"
    )
    statistics_interval_ms: float = Field(
        500,
        ge=0,
        description="Time between transactions while few events come: a transaction costs Kafka more than an event",
    )
    statistics_keys: int = Field(
        2_000_000,
        ge=1,
        description="Most item counts in memory, one for each item and partition; above it new items are not counted",
    )

    item_changes_batch: int = Field(
        500, ge=1, le=10_000, description="Most changes of items in a transaction"
    )

    quality_slates: int = Field(
        20_000,
        ge=0,
        le=1_000_000,
        description="Most slates in memory, to which online quality joins events, about 1 KB each at 20 items; "
        "a longer one counts once for each 50 items; 0: online quality is not measured",
    )

    @field_validator("mappings")
    @classmethod
    def _have_different_names(cls, mappings: tuple[EventMapping, ...]) -> tuple[EventMapping, ...]:
        names = [mapping.name for mapping in mappings]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"there are several mappings with the name {', '.join(sorted(twice))}")
        return mappings
