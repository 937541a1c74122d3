"""Settings of the connection to Triton."""

from pydantic import BaseModel, ConfigDict, Field


class TritonSettings(BaseModel):
    """The connection to Triton and its circuit breakers. Each graph of a version has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field("127.0.0.1:8001", description="Triton's gRPC address, host:port")
    tls: bool = Field(False, description="Use TLS to Triton, with the system's certificates")
    breaker_failures: int = Field(
        3,
        ge=1,
        description="Consecutive failures after which a graph's circuit breaker opens and calls fail immediately",
    )
    breaker_open_ms: float = Field(
        100,
        gt=0,
        description="How long the breaker stays open at first. Then one call is tried; each failure doubles the time",
    )
    breaker_open_max_ms: float = Field(1000, gt=0, description="Longest time that the breaker stays open")
    load_timeout_ms: float = Field(
        120_000, gt=0, description="How long Triton may take to load one graph of a new version"
    )
