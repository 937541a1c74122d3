"""How ingest runs."""

from pydantic import BaseModel, ConfigDict, Field


class IngestSettings(BaseModel):
    """Settings of the ingest process and its workers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    health_host: str = Field("127.0.0.1", description="Address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9100, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; 0: any free"
    )

    batch_records: int = Field(500, ge=1, le=10_000, description="Most records of a batch")
    poll_ms: int = Field(
        500, ge=1, le=10_000, description="Longest wait for a batch; an event ends it at once"
    )
    fetch_wait_ms: int = Field(
        250, ge=1, le=5_000, description="How long the broker holds an empty fetch; an event ends it at once"
    )
    session_timeout_ms: int = Field(
        10_000, ge=1_000, description="A consumer that is silent for so long loses its partitions"
    )
    revoke_timeout_ms: int = Field(
        5_000,
        ge=100,
        description="What a batch has to finish in when partitions move; below the session timeout",
    )
    commit_interval_ms: float = Field(
        100, ge=0, description="Offsets are committed this often; what was not is read again, and dropped"
    )
    commit_timeout_ms: int = Field(2_000, ge=50, description="Longest wait for one commit of offsets")

    model_budget_ms: float = Field(
        50,
        gt=0,
        description="What a batch may wait for the model; then profiles are written with stale states",
    )
    profile_cache_size: int = Field(
        10_000,
        ge=0,
        description="Profiles last written that are kept in memory, 4 to 20 KB each, so that a user's next event "
        "reads nothing; 0: none",
    )
    write_attempts: int = Field(
        8, ge=1, le=100, description="Reads and folds of a refused profile before backing off"
    )
    backoff_ms: float = Field(
        50, gt=0, description="First wait before a failed batch is tried again; it doubles"
    )
    backoff_max_ms: float = Field(5_000, gt=0, description="Longest such wait")
    rewind_seconds: float = Field(
        10,
        ge=0,
        description="How much of what was applied is read again after the store restarts or fails over",
    )
    store_check_ms: float = Field(
        1_000, gt=0, description="Time between looks at the store while nothing flows"
    )
    topic_check_seconds: float = Field(5, gt=0, description="Time between looks at the topics' ids")
    dead_letters_per_minute: int = Field(
        1_000,
        ge=0,
        description="Past so many new dead letters in a minute ingest stops instead of writing more",
    )

    stale_users: int = Field(
        100_000, ge=1, description="Users whose states are known to be stale; past it the store is scanned"
    )
    sweep_batch: int = Field(64, ge=1, le=1_000, description="States refolded in one call")
    sweep_interval_ms: float = Field(
        200, gt=0, description="Time between the sweeper's looks at what is stale"
    )
    sweep_timeout_ms: float = Field(2_000, gt=0, description="What one refold by the sweeper may take")

    embed_batch: int = Field(32, ge=1, le=1_000, description="Items embedded in one call")
    embed_timeout_ms: float = Field(30_000, gt=0, description="What embedding one batch may take")

    statistics_batch: int = Field(
        2_000, ge=1, le=100_000, description="Most records in a transaction of statistics"
    )
    statistics_interval_ms: float = Field(
        500,
        ge=0,
        description="Time between transactions while few events come: one an event would cost Kafka more than "
        "the event does",
    )
    statistics_keys: int = Field(
        2_000_000,
        ge=1,
        description="Item counts held at most, an item and a partition each; past it new ones are not",
    )

    quality_slates: int = Field(
        20_000,
        ge=0,
        le=1_000_000,
        description="Sent lists remembered to place actions on them for the figures of online quality, about a "
        "kilobyte each at 20 items; 0: these are not measured",
    )
