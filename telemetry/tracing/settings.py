"""The settings of tracing: whether traces are made, for which share of the events, and where they go."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Exporter = Literal["none", "otlp", "file"]


class TracingSettings(BaseModel):
    """OpenTelemetry traces. Without an exporter no spans are made, and no data leaves the process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exporter: Exporter = Field(
        "none",
        description="Where spans go: `otlp`: to a collector over gRPC; `file`: to a file, as OTLP JSON, a batch a "
        "line; `none`: no traces",
    )
    endpoint: str = Field(
        "http://127.0.0.1:4317",
        pattern=r"^https?://[^/]+:[0-9]+$",
        description="Address of the collector, with its port; `https` for TLS. OpenTelemetry's own variables, such as "
        "OTEL_EXPORTER_OTLP_HEADERS, set certificates and headers",
    )
    file: Path = Field(
        Path("traces.jsonl"), description="The file of the exporter `file`; several processes may share it"
    )
    file_megabytes: int = Field(
        100,
        ge=1,
        description="Largest size of the file; a full file gets no more spans, and one log line says so",
    )
    sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the events and calls without a `traceparent` for which a trace starts here. A "
        "`traceparent` decides for those that have one",
    )
    queue: int = Field(
        2_048,
        ge=1,
        le=100_000,
        description="Most spans that wait to be exported; beyond it the oldest are dropped",
    )
    flush_seconds: float = Field(
        2, ge=0, le=30, description="Longest wait for the export of the remaining spans when a process ends"
    )
