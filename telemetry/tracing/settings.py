"""Whether traces are made, for which share of the events, and where they go."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Exporter = Literal["none", "otlp", "file"]


class TracingSettings(BaseModel):
    """Traces by OpenTelemetry. Without an exporter nothing is made, and nothing leaves the process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exporter: Exporter = Field(
        "none",
        description="Where spans go: `otlp`, a collector over gRPC; `file`, OTLP as JSON, a batch a line; `none`: no "
        "traces",
    )
    endpoint: str = Field(
        "http://127.0.0.1:4317",
        pattern=r"^https?://[^/]+:[0-9]+$",
        description="The collector, with its port; `https` for TLS. Certificates and headers come by OpenTelemetry's "
        "own variables, such as OTEL_EXPORTER_OTLP_HEADERS",
    )
    file: Path = Field(
        Path("traces.jsonl"), description="The file of the exporter `file`; several processes may share it"
    )
    file_megabytes: int = Field(
        100, ge=1, description="A file of this size gets no more spans; the log says so once"
    )
    sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the events and calls without a `traceparent` for which a trace starts here. Those with "
        "one are traced if it says so",
    )
    queue: int = Field(
        2_048, ge=1, le=100_000, description="Spans that wait to be exported, at most; more drop the oldest"
    )
    flush_seconds: float = Field(
        2, ge=0, le=30, description="Longest wait at the end of a process for spans that are not exported yet"
    )
