"""Sets up OpenTelemetry's SDK from the settings. Only processes that export load this module."""

import json
import os
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Final

import structlog
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from telemetry.tracing.settings import TracingSettings

log = structlog.get_logger()

_DELAY_MS: Final = 1_000
_BATCH: Final = 512
_TIMEOUT_SECONDS: Final = 5
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class FileExporter(SpanExporter):
    """Writes each batch of spans as a line of OTLP JSON, which a collector's `otlpjsonfile` receiver reads.

    Each line is appended in one write, so several processes may share the file.

    Args:
        path: The file.
        most_bytes: The largest size of the file.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._most_bytes = most_bytes
        self._warned = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Appends a line, unless the file is full."""
        line = json.dumps(_otlp(spans), separators=(",", ":")).encode() + b"\n"
        if os.fstat(self._file.fileno()).st_size + len(line) > self._most_bytes:
            if not self._warned:
                log.warning("trace_file_full", bytes=self._most_bytes)
            self._warned = True
            return SpanExportResult.FAILURE
        self._file.write(line)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Closes the file."""
        self._file.close()


def provider(settings: TracingSettings, service: str) -> TracerProvider:
    """Returns the tracer provider of this process. It samples every span, since `spans.root` decides about sampling.

    Args:
        settings: Where spans go.
        service: The service name of the spans.

    Raises:
        OSError: The exporter's file cannot be opened.
    """
    exporter: SpanExporter
    if settings.exporter == "file":
        exporter = FileExporter(settings.file, settings.file_megabytes * 10**6)
    else:
        exporter = OTLPSpanExporter(settings.endpoint, timeout=_TIMEOUT_SECONDS)
    made = TracerProvider(
        sampler=ParentBased(ALWAYS_ON),
        resource=Resource.create({"service.name": service, "service.namespace": "recstream"}),
        shutdown_on_exit=False,  # its wait for a collector is unbounded
    )
    made.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=settings.queue,
            schedule_delay_millis=_DELAY_MS,
            max_export_batch_size=min(_BATCH, settings.queue),
            export_timeout_millis=_TIMEOUT_SECONDS * 1000,
        )
    )
    return made


def shut_down(made: TracerProvider, seconds: float) -> None:
    """Exports the remaining spans within `seconds`, even if the collector hangs."""
    ending = Thread(target=made.shutdown, name="end of traces", daemon=True)
    ending.start()
    ending.join(seconds)
    if ending.is_alive():
        log.warning("traces_left_behind", seconds=seconds)


def _otlp(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """Returns spans in OTLP's JSON: ids in hexadecimal, where protobuf's JSON has base64, and enums as numbers."""
    document: dict[str, Any] = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for span in spans_of(document):
        for name in _IDS:
            if name in span:
                span[name] = b64decode(span[name]).hex()
    return document


def spans_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the spans of one line."""
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())
