"""Where Triton is, and when to stop asking it."""

from pydantic import BaseModel, ConfigDict, Field


class TritonSettings(BaseModel):
    """The connection to Triton and the breaker in front of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field("127.0.0.1:8001", description="Triton's gRPC address, host:port")
    tls: bool = Field(False, description="Speak TLS to Triton, with the system's certificates")
    breaker_failures: int = Field(
        3, ge=1, description="Failures in a row of one graph after which calls fail at once for a while"
    )
    breaker_open_ms: float = Field(
        100,
        gt=0,
        description="How long the first such while lasts; then one call tries, and on failure it doubles",
    )
    breaker_open_max_ms: float = Field(1000, gt=0, description="The longest such while")
    load_timeout_ms: float = Field(
        120_000, gt=0, description="How long Triton may take to load one graph of a new version"
    )
