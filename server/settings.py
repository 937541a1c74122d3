"""Settings of the server."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from server.tokens.keys import parse_keys


class ServerSettings(BaseModel):
    """The gRPC server. Times are in milliseconds unless the name says seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("0.0.0.0", description="Address to listen on")  # noqa: S104
    port: int = Field(50051, ge=0, le=65535, description="gRPC port; 0: any free one")
    http_port: int = Field(
        50052, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; 0: any free one"
    )
    reuse_port: bool = Field(
        False,
        description="Let several processes share the port. A leftover process then receives a share of the calls",
    )
    keepalive_seconds: float = Field(
        60, gt=0, description="Silence after which the server pings a connection"
    )
    keepalive_timeout_seconds: float = Field(
        20, gt=0, description="Time without an answer to a ping after which a connection is closed"
    )
    client_ping_seconds: float = Field(
        5,
        gt=0,
        description="Shortest interval at which clients may ping; connections that ping more often are closed",
    )
    max_request_bytes: int = Field(4 << 20, ge=1024, description="Larger requests are refused")

    max_streams: int = Field(
        10_000,
        ge=1,
        description="Most open streams of a process; more are refused with a delay before a retry",
    )
    max_streams_per_user: int = Field(20, ge=1, description="Most open streams of a user")
    stream_max_age_seconds: float = Field(
        3_600,
        gt=0,
        description="Age, give or take a tenth, at which a stream is sent away and a connection takes no calls, so "
        "that servers that were added later get their share",
    )
    max_unary: int = Field(
        1_000,
        ge=1,
        description="Most unary requests in progress; more are refused with a delay before a retry",
    )
    retry_after_ms: int = Field(
        1_000,
        ge=1,
        description="Delay before a retry of refused calls: a random time between this and twice this",
    )

    default_deadline_ms: float = Field(1_000, gt=0, description="Deadline of requests without one")
    max_deadline_ms: float = Field(30_000, gt=0, description="Longer deadlines are shortened to this")
    answer_reserve_ms: float = Field(
        25, ge=0, description="Part of a deadline reserved for sending the answer, at most a third of it"
    )
    ranking_reserve_ms: float = Field(
        20,
        ge=0,
        description="Part of a deadline reserved for ranking while a call waits for events, at most a third of it",
    )
    profile_wait_ms: float = Field(
        100, gt=0, description="Longest wait for a profile; after it, the slate is made without the profile"
    )
    ranking_concurrency: int = Field(
        8, ge=1, description="Slates of one priority that are made at the same time"
    )
    stream_budget_ms: float = Field(
        250, gt=0, description="Time to make one slate of a stream, without the wait for a slot"
    )

    heartbeat_seconds: float = Field(
        20,
        gt=0,
        le=55,
        description="Interval of heartbeats on silent streams; load balancers close streams after 60 s of silence",
    )
    slow_consumer_seconds: float = Field(
        60, gt=0, description="Time after which a stream ends if its client does not read"
    )
    reread_seconds: float = Field(
        1,
        gt=0,
        description="Interval at which the profile revisions of all open streams are read: announcements can be lost",
    )
    refresh_seconds: float = Field(
        300, ge=0, description="Age at which a stream's slate is made again; 0: never"
    )
    tier_recovery_seconds: float = Field(
        2,
        gt=0,
        description="Interval at which one of the streams with slates of a lower tier tries for a better one",
    )
    read_your_writes_poll_ms: float = Field(
        20, gt=0, description="First pause between two reads of the profile while a call waits for events"
    )
    read_your_writes_poll_max_ms: float = Field(
        200, gt=0, description="Longest pause between two such reads; each pause is twice the last"
    )

    record_timeout_ms: float = Field(5_000, gt=0, description="Longest wait for Kafka's acknowledgement")
    records_in_flight: int = Field(
        256,
        ge=1,
        description="Most unanswered events of one RecordStream, BatchRecord or Session",
    )
    topic_check_seconds: float = Field(5, gt=0, description="Interval at which the ids of topics are read")

    page_seconds: float = Field(1_800, gt=0, description="Time for which a page token is valid")
    page_items: int = Field(1_000, ge=1, le=1_000, description="Most items on all pages of one session")
    token_keys: SecretStr | None = Field(
        None,
        description="Keys that seal tokens, separated by commas, each a number from 1 to 255, a colon and base64 of "
        "16 to 64 bytes: the first seals, all open. Give all servers the same. None: each process makes a key of its "
        "own, and no other accepts its tokens",
    )

    slate_queue: int = Field(
        2_000,
        ge=1,
        description="Most sent slates that wait for the topic `slates`; more are dropped and counted",
    )

    drain_seconds: float = Field(
        10, gt=0, description="Time from SIGTERM until calls that are still open are cancelled"
    )
    reconnect_spread_ms: int = Field(
        5_000,
        ge=0,
        description="Time over which streams are ended one by one after SIGTERM, at most half of drain_seconds. Fewer "
        "than 250 streams take less. Each stream continues until its turn",
    )

    @field_validator("token_keys")
    @classmethod
    def _check_token_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            parse_keys(keys.get_secret_value())
        return keys
