"""How the server listens, how much it takes on, and how it keeps streams."""

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
        description="Let several processes share the port; a forgotten one then silently takes its part",
    )
    keepalive_seconds: float = Field(
        60, gt=0, description="After so much silence the server pings a connection"
    )
    keepalive_timeout_seconds: float = Field(
        20, gt=0, description="A connection that does not answer a ping so long ends"
    )
    client_ping_seconds: float = Field(
        5,
        gt=0,
        description="Clients may ping this often, idle or not; those that ping more often are cut off",
    )
    max_request_bytes: int = Field(4 << 20, ge=1024, description="Larger requests are refused")

    max_streams: int = Field(
        10_000, ge=1, description="Open streams a process; more are refused with a delay"
    )
    max_streams_per_user: int = Field(20, ge=1, description="Open streams a user")
    max_unary: int = Field(
        1_000, ge=1, description="Unary requests in progress; more are refused with a delay"
    )
    retry_after_ms: int = Field(
        1_000, ge=1, description="Delay told to those who are refused, spread up to its double"
    )

    default_deadline_ms: float = Field(1_000, gt=0, description="For requests that come without a deadline")
    max_deadline_ms: float = Field(30_000, gt=0, description="Longer deadlines are cut to this")
    answer_reserve_ms: float = Field(
        25, ge=0, description="Kept of a deadline for sending the answer; of short ones at most a third"
    )
    ranking_reserve_ms: float = Field(
        20,
        ge=0,
        description="Kept of a deadline for ranking, while waiting for events; of short ones at most a third",
    )
    profile_wait_ms: float = Field(
        100, gt=0, description="Longest wait for a profile; after it the list is made without"
    )
    ranking_concurrency: int = Field(8, ge=1, description="Lists that are made at the same time")
    stream_budget_ms: float = Field(
        250, gt=0, description="Time to make one list of a stream, the wait for its turn aside"
    )

    heartbeat_seconds: float = Field(
        20,
        gt=0,
        le=55,
        description="A stream without news gets a heartbeat; balancers cut what is silent for 60 s",
    )
    slow_consumer_seconds: float = Field(
        60, gt=0, description="A stream whose client reads nothing for so long ends"
    )
    reread_seconds: float = Field(
        1,
        gt=0,
        description="Revisions of all open streams are read this often, for announcements can be lost",
    )
    refresh_seconds: float = Field(
        300, ge=0, description="A stream's list is made again this long after it was made last; 0: never"
    )
    tier_recovery_seconds: float = Field(
        2,
        gt=0,
        description="The same for a list that a better tier would answer, or made without the profile",
    )
    read_your_writes_poll_ms: float = Field(
        20, gt=0, description="First pause between looks while waiting for events"
    )
    read_your_writes_poll_max_ms: float = Field(200, gt=0, description="Longest such pause")

    record_timeout_ms: float = Field(5_000, gt=0, description="Longest wait for Kafka's acknowledgement")
    records_in_flight: int = Field(256, ge=1, description="Events of one RecordStream or Session in flight")
    topic_check_seconds: float = Field(5, gt=0, description="How often topic ids are looked up")

    page_seconds: float = Field(1_800, gt=0, description="A page token is good for so long")
    page_items: int = Field(2_000, ge=1, le=20_000, description="Items that a paging session can hold")

    slate_queue: int = Field(
        2_000, ge=1, description="Sent lists waiting for the topic `slates`; more are dropped, and counted"
    )

    drain_seconds: float = Field(10, gt=0, description="From SIGTERM until what is still open is cut off")
    reconnect_spread_ms: int = Field(
        5_000,
        ge=0,
        description="From SIGTERM on streams are sent away one by one over so long, at most half of drain_seconds, and "
        "fewer than 250 sooner; until its turn each goes on as before",
    )
