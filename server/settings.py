"""How the server listens, its limits, and how it keeps streams."""

from pydantic import BaseModel, ConfigDict, Field


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
        description="Let several processes share the port. One that was left running then takes a share of the calls",
    )
    keepalive_seconds: float = Field(
        60, gt=0, description="The server pings a connection that has been silent for so long"
    )
    keepalive_timeout_seconds: float = Field(
        20, gt=0, description="A connection ends if a ping is not answered for so long"
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
        description="Open streams of a process; more are refused, with a delay after which to try again",
    )
    max_streams_per_user: int = Field(20, ge=1, description="Open streams of a user")
    max_unary: int = Field(
        1_000,
        ge=1,
        description="Unary requests in progress; more are refused, with a delay after which to try again",
    )
    retry_after_ms: int = Field(
        1_000, ge=1, description="The delay of refused calls: a random time between this and twice this"
    )

    default_deadline_ms: float = Field(1_000, gt=0, description="The deadline of requests that have none")
    max_deadline_ms: float = Field(30_000, gt=0, description="Longer deadlines are shortened to this")
    answer_reserve_ms: float = Field(
        25, ge=0, description="Part of a deadline that is kept for sending the answer; at most a third of it"
    )
    ranking_reserve_ms: float = Field(
        20,
        ge=0,
        description="Part of a deadline that is kept for ranking while a call waits for events; at most a third of it",
    )
    profile_wait_ms: float = Field(
        100, gt=0, description="Longest wait for a profile; after it the slate is made without it"
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
        description="A silent stream gets a heartbeat this often; load balancers cut streams that are silent for 60 s",
    )
    slow_consumer_seconds: float = Field(
        60, gt=0, description="A stream ends if its client reads nothing for so long"
    )
    reread_seconds: float = Field(
        1,
        gt=0,
        description="The revisions of all open streams' profiles are read this often: announcements can be lost",
    )
    refresh_seconds: float = Field(
        300, ge=0, description="A stream's slate is made again this long after it was made last; 0: never"
    )
    tier_recovery_seconds: float = Field(
        2,
        gt=0,
        description="While streams have slates of a lower tier, one of them tries again this often",
    )
    read_your_writes_poll_ms: float = Field(
        20, gt=0, description="First pause between two reads of the profile while a call waits for events"
    )
    read_your_writes_poll_max_ms: float = Field(
        200, gt=0, description="Longest such pause; each is twice the last"
    )

    record_timeout_ms: float = Field(5_000, gt=0, description="Longest wait for Kafka's acknowledgement")
    records_in_flight: int = Field(
        256,
        ge=1,
        description="Unanswered events of one RecordStream or Session, at most",
    )
    topic_check_seconds: float = Field(5, gt=0, description="How often the ids of topics are read")

    page_seconds: float = Field(1_800, gt=0, description="A page token is valid for so long")
    page_items: int = Field(2_000, ge=1, le=20_000, description="Items of all pages of one session, at most")

    slate_queue: int = Field(
        2_000,
        ge=1,
        description="Sent slates that wait for the topic `slates`; more are dropped, and counted",
    )

    drain_seconds: float = Field(
        10, gt=0, description="From SIGTERM until the calls that are still open are cut off"
    )
    reconnect_spread_ms: int = Field(
        5_000,
        ge=0,
        description="After SIGTERM streams are ended one by one over so long, at most half of drain_seconds. Fewer "
        "than 250 streams take less. Until then each goes on as before",
    )
