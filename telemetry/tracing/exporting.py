"""The SDK, set up by the settings; loaded only where something is exported."""

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
    """A batch of spans a line, as OTLP's JSON, which a collector's `otlpjsonfile` receiver reads.

    Lines are appended whole, so that several processes may share the file. Raises OSError where it cannot be opened.
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
    """What makes spans for this process. Whether a trace begins is decided before (`spans.root`), so that what is
    not sampled never comes here. Raises OSError (the file)."""
    exporter: SpanExporter
    if settings.exporter == "file":
        exporter = FileExporter(settings.file, settings.file_megabytes * 10**6)
    else:
        exporter = OTLPSpanExporter(settings.endpoint, timeout=_TIMEOUT_SECONDS)
    made = TracerProvider(
        sampler=ParentBased(ALWAYS_ON),
        resource=Resource.create({"service.name": service, "service.namespace": "recstream"}),
        shutdown_on_exit=False,  # it would wait for a collector as long as that likes
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
    """Exports what waits, for at most so long; a collector that hangs holds nobody back."""
    ending = Thread(target=made.shutdown, name="end of traces", daemon=True)
    ending.start()
    ending.join(seconds)
    if ending.is_alive():
        log.warning("traces_left_behind", seconds=seconds)


def _otlp(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """As OTLP has it in JSON: ids in hexadecimal, where protobuf's own JSON has base64, and enums as numbers."""
    document: dict[str, Any] = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for span in spans_of(document):
        for name in _IDS:
            if name in span:
                span[name] = b64decode(span[name]).hex()
    return document


def spans_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The spans of one line."""
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())
