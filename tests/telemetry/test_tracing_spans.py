"""Traced work has a bounded number of spans. Other work has none."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from ingest.profiles.records import read_batch
from profiles.actions import ProfileSettings
from profiles.times import timestamp
from recstream.client.tracing import trace_headers
from recstream.v1.interaction_pb2 import Interaction
from server.streaming.mailbox import Mailbox, News
from telemetry.tracing import spans
from telemetry.tracing.exporting import FileExporter, shut_down, spans_of
from telemetry.tracing.settings import TracingSettings
from telemetry.tracing.spans import MOST, Followed, Origin, child, start
from telemetry.tracing.traced import traced
from telemetry.tracing.w3c import TRACEPARENT, parse

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"
NOW = 1_793_500_000_000


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """Tracing is on, and no trace begins here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans.use(provider.get_tracer("test"), 0.0)
    yield exporter
    spans.use(None)


def origin(header: str = PARENT) -> Origin:
    return Origin(parse(header))


def record(offset: int, *headers: tuple[str, bytes]) -> ConsumerRecord:
    event = Interaction(user_id="ann", item_id="film", action="click", event_time=timestamp(NOW))
    value = event.SerializeToString()
    return ConsumerRecord("interactions", 0, offset, NOW, 0, b"ann", value, None, 3, len(value), headers)


def batch_of(*headers: tuple[tuple[str, bytes], ...]) -> tuple:  # type: ignore[type-arg]
    polled = {TopicPartition("interactions", 0): [record(at, *each) for at, each in enumerate(headers)]}
    batch = read_batch(polled, b"t" * 16, ProfileSettings(), ())
    assert not batch.letters and len(batch.records["ann"]) == len(headers)
    return batch.traced


def test_a_step_is_a_child_of_each_span(exported: InMemorySpanExporter) -> None:
    with Followed("batch", SpanKind.CONSUMER, [origin(), origin()]), child("step"), child("part"):
        pass
    found = exported.get_finished_spans()
    by_id = {span.context.span_id: span for span in found}
    parts = [span for span in found if span.name == "part"]
    assert len(parts) == 2
    for part in parts:
        step = by_id[part.parent.span_id]
        batch = by_id[step.parent.span_id]
        assert (step.name, batch.name) == ("step", "batch")
        assert batch.parent.span_id == parse(PARENT).span_id
    assert len({part.parent.span_id for part in parts}) == 2


def test_at_most_sixteen_spans_are_made_and_the_order_is_kept(exported: InMemorySpanExporter) -> None:
    with Followed("batch", SpanKind.CONSUMER, [origin(UNSAMPLED), *[origin()] * (MOST + 3)]) as followed:
        followed.add([origin()])
    assert len(exported.get_finished_spans()) == MOST
    assert [bool(each) for each in followed.traceparents] == [False, *[True] * MOST, *[False] * 4]


def test_a_span_has_only_the_type_of_an_error(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="ann"), Followed("call", SpanKind.SERVER, [origin()]), child("step"):
        raise ValueError("ann likes film")
    for span in exported.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR
        assert dict(span.attributes) == {"error.type": "ValueError"} and not span.events
        assert "ann" not in span.to_json()


@pytest.mark.parametrize("header", [UNSAMPLED, ""])
def test_unsampled_work_makes_no_span_and_passes_that_on(exported: InMemorySpanExporter, header: str) -> None:
    parent = parse(header) or spans.root()
    with Followed("call", SpanKind.SERVER, [Origin(parent)]), child("step"):
        sent = start("send", SpanKind.PRODUCER, {})
        assert sent is not None and not sent.get_span_context().trace_flags.sampled
        assert sent.get_span_context().trace_id == parent.trace_id  # type: ignore[union-attr]
        sent.end()
    assert not exported.get_finished_spans()


def test_traces_begin_here_with_the_configured_ratio(exported: InMemorySpanExporter) -> None:
    assert all(spans.root() is not None for _ in range(50))
    spans.use(spans._tracer, 1.0)
    assert all(spans.root() is None for _ in range(50))
    assert len(batch_of((), ())) == 2  # A producer that does not trace.


def test_without_tracing_no_span_is_made_parsed_or_passed_on() -> None:
    assert start("send", SpanKind.PRODUCER, {}) is None
    with Followed("call", SpanKind.SERVER, [origin()]) as followed, child("step"):
        assert not get_current_span().get_span_context().is_valid
    assert followed.traceparents == []
    assert batch_of(((TRACEPARENT, PARENT.encode()),)) == ()


def test_headers_of_records_are_used_only_if_they_can_be_parsed(exported: InMemorySpanExporter) -> None:
    traced = batch_of(
        (("other", b"x"), (TRACEPARENT, PARENT.encode())),
        ((TRACEPARENT, UNSAMPLED.encode()),),
        ((TRACEPARENT, b"\xff\x00" * 40),),
        ((TRACEPARENT, PARENT.encode() * 1000),),
        (),
    )
    (one,) = traced
    assert one.user_id == "ann" and one.origin.parent == parse(PARENT)
    assert one.origin.attributes["messaging.kafka.offset"] == 0


def test_a_batch_full_of_traced_events_is_bounded(exported: InMemorySpanExporter) -> None:
    assert len(batch_of(*[((TRACEPARENT, PARENT.encode()),)] * (2 * MOST))) == MOST


def test_news_collects_the_traces_of_all_its_events(exported: InMemorySpanExporter) -> None:
    news = News()
    for _ in range(2 * MOST):
        news.add(News(traced=(origin(),)))
    assert len(news.traced) == MOST
    assert Mailbox().take().traced == ()


def test_the_client_passes_on_the_callers_span(exported: InMemorySpanExporter) -> None:
    assert trace_headers() == {}
    with Followed("backend", SpanKind.INTERNAL, [origin()]) as followed:
        assert trace_headers() == {TRACEPARENT: followed.traceparents[0]}


class Hanging(SpanExporter):
    """A collector that never answers."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.let_go.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None: ...


def test_a_collector_that_hangs_does_not_delay_the_end() -> None:
    exporter = Hanging()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.get_tracer("test").start_span("one").end()
    shut_down(provider, 0.05)
    assert exporter.asked.wait(20)
    exporter.let_go.set()


def test_a_process_writes_its_spans_to_the_file_as_otlp(tmp_path: Path) -> None:
    file = tmp_path / "new" / "traces.jsonl"
    settings = TracingSettings(exporter="file", file=file, sample_ratio=1.0)
    for service in ("recstream-ingest", "recstream-server"):
        with traced(settings, service), Followed("work", SpanKind.CONSUMER, [origin()]):
            pass
        assert not spans.on()
    documents = [json.loads(line) for line in file.read_text().splitlines()]
    found = [span for document in documents for span in spans_of(document)]
    assert {span["traceId"] for span in found} == {"0af7651916cd43dd8448eb211c80319c"}
    assert {span["parentSpanId"] for span in found} == {"b7ad6b7169203331"}
    assert len({span["spanId"] for span in found}) == 2
    assert all(span["kind"] == 5 and len(span["spanId"]) == 16 for span in found)
    names = [
        each["value"]["stringValue"]
        for document in documents
        for each in document["resourceSpans"][0]["resource"]["attributes"]
        if each["key"] == "service.name"
    ]
    assert names == ["recstream-ingest", "recstream-server"]


def test_a_full_file_gets_no_more_spans(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("test").start_span("one")
    span.end()
    exporter = FileExporter(tmp_path / "traces.jsonl", 1000)
    answers = [exporter.export([span]) for _ in range(5)]  # type: ignore[list-item]
    exporter.shutdown()
    assert answers[0] is SpanExportResult.SUCCESS and answers[-1] is SpanExportResult.FAILURE
    assert (tmp_path / "traces.jsonl").stat().st_size <= 1000


def test_without_an_exporter_no_sdk_is_loaded_and_tracing_is_off() -> None:
    with traced(TracingSettings(), "recstream-server"):
        assert not spans.on()


class Collector(TraceServiceServicer):
    """Keeps the spans that it receives."""

    def __init__(self) -> None:
        self.sent: list[ExportTraceServiceRequest] = []

    def Export(
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self.sent.append(request)
        return ExportTraceServiceResponse()


def test_a_collector_gets_all_spans_before_the_process_ends() -> None:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    settings = TracingSettings(exporter="otlp", endpoint=f"http://127.0.0.1:{port}", flush_seconds=20)
    try:
        with traced(settings, "recstream-ingest"), Followed("work", SpanKind.CONSUMER, [origin()]):
            pass
    finally:
        server.stop(None)
    (request,) = collector.sent
    (resource,) = request.resource_spans
    (span,) = resource.scope_spans[0].spans
    assert span.name == "work" and span.parent_span_id.hex() == "b7ad6b7169203331"
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert named["service.name"] == "recstream-ingest"
