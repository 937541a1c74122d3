"""Where Triton is, and when its circuit breaker opens."""

from pydantic import BaseModel, ConfigDict, Field


class TritonSettings(BaseModel):
    """The connection to Triton and its circuit breakers, one for each graph of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field("127.0.0.1:8001", description="Triton's gRPC address, host:port")
    tls: bool = Field(False, description="Speak TLS to Triton, with the system's certificates")
    breaker_failures: int = Field(
        3,
        ge=1,
        description="Failures in a row after which the circuit breaker of a graph opens, and calls fail at once",
    )
    breaker_open_ms: float = Field(
        100,
        gt=0,
        description="How long it stays open at first. Then one call tries; each failure doubles the time",
    )
    breaker_open_max_ms: float = Field(1000, gt=0, description="The longest time that it stays open")
    load_timeout_ms: float = Field(
        120_000, gt=0, description="How long Triton may take to load one graph of a new version"
    )
