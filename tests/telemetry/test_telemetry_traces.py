"""One event is one trace, from the sender through Kafka, ingest, Triton and Valkey to the frame on a stream."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from opentelemetry.trace import NonRecordingSpan, use_span

from bench.waterfall import Span, read_traces, waterfall, way
from catalog.settings import CatalogSettings
from configuration.settings import Settings
from ingest.consuming.offsets import partitions_of, reader
from local.stack import Stack
from recstream.client import Client, interaction
from telemetry.tracing.settings import TracingSettings
from telemetry.tracing.w3c import parse
from tests.drills.world import ITEMS, fill
from tests.models.tiny_bundle import build
from topics.producer import start_producer

pytestmark = [pytest.mark.drill, pytest.mark.timeout(240)]

USER = "the-user-who-is-watched"
HEADERS = {
    "of a producer": b"00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1111111111111111-01",
    "not sampled": b"00-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-2222222222222222-00",
    "malformed": b"00-cccccccccccccccccccccccccccccccc-3333333333333333-0\xff",
    "oversized": b"00-dddddddddddddddddddddddddddddddd-4444444444444444-01" * 1000,
}
CALLER = "00-eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee-5555555555555555-01"
STREAMER = "00-ffffffffffffffffffffffffffffffff-6666666666666666-01"


@dataclass(frozen=True)
class Traced:
    """The results of a run: spans, the events that frames named, and the recorded events by sender."""

    spans: list[Span]
    named: set[str]
    sent: Mapping[str, str]
    refused: int

    def of(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """One run for all tests of this file. The spans are read when the processes have ended."""
    bundle = build(tmp_path_factory.mktemp("traces-bundle") / "tiny", ITEMS)
    folder = tmp_path_factory.mktemp("traces-stack")
    tracing = TracingSettings(exporter="file", file=folder / "traces.jsonl", sample_ratio=0.0)
    settings = Settings(bundle=bundle, catalog=CatalogSettings(exact_below=100), tracing=tracing)
    return asyncio.run(_run(settings, folder))


async def _run(settings: Settings, folder: Path) -> Traced:
    sent: dict[str, str] = {}
    async with Stack(settings, folder) as stack:
        await fill(stack)
        async with Client(stack.address("server")) as client, _heard(client) as named:
            kafka = stack.settings.kafka
            producer = await start_producer(kafka)
            for how, header in HEADERS.items():
                event = interaction(USER, ITEMS[len(sent)], "like")
                value, key = event.SerializeToString(), USER.encode()
                headers = [("traceparent", header)]
                await producer.send_and_wait(kafka.topics.interactions, value, key, headers=headers)
                sent[how] = event.event_id
                await _until_named(named, event.event_id)
            await producer.stop()
            caller = parse(CALLER)
            assert caller is not None
            with use_span(NonRecordingSpan(caller)):
                sent["by the client"] = secrets.token_hex(8)
                await client.record(USER, ITEMS[9], "like", event_id=sent["by the client"])
            await _until_named(named, sent["by the client"])
            streamer = parse(STREAMER)
            assert streamer is not None
            with use_span(NonRecordingSpan(streamer)):
                event = interaction(USER, ITEMS[10], "like")
                sent["on a stream"] = event.event_id
                assert [each.error async for each in client.record_many([event])] == [None]
            await _until_named(named, sent["on a stream"])
        refused = await _count(stack, kafka.topics.interactions_dead_letter)
    return Traced(read_traces(settings.tracing.file), named, sent, refused)


@asynccontextmanager
async def _heard(client: Client) -> AsyncIterator[set[str]]:
    """Yields the ids of the events that frames of an open stream have named so far."""
    named: set[str] = set()
    opened = asyncio.Event()

    async def hear() -> None:
        async for list_ in client.stream(USER, count=5):
            named.update(cause.event_id for cause in list_.causes)
            opened.set()

    hearing = asyncio.create_task(hear())
    async with asyncio.timeout(30):
        await opened.wait()
    try:
        yield named
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _until_named(named: set[str], event_id: str) -> None:
    async with asyncio.timeout(30):
        while event_id not in named:
            await asyncio.sleep(0.02)


async def _count(stack: Stack, topic: str) -> int:
    async with reader(stack.settings.kafka) as consumer:
        partitions = await partitions_of(stack.settings.kafka, topic)
        return sum((await consumer.end_offsets(partitions)).values())


def test_a_producers_header_is_followed_to_the_frame(traced: Traced) -> None:
    trace = traced.of("a" * 32)
    ways = {tuple(way(span, trace)): span for span in trace}
    process = ways["process interactions",]
    assert process.parent == "1" * 16 and process.service == "recstream-ingest"
    model = [
        span
        for names, span in ways.items()
        if names[1:2] in (("ModelInfer user_step",), ("ModelInfer user_fold",))
    ]
    assert len(model) >= 1 and ("process interactions", "EVALSHA profiles") in ways
    frame = ("process interactions", "process announcement")
    for stage in ("wait for ranking", "hydrate", "filter", "source", "score", "select", "slate"):
        assert (*frame, stage) in ways
    assert (*frame, "score", "ModelInfer ranker") in ways
    sent = ways[*frame, "send frame"]
    assert sent.attributes["recstream.frame"] == "snapshot"
    assert {span.service for span in trace} == {"recstream-ingest", "recstream-server"}
    # Sending the frame is the last step, and the announcement came after its write began.
    write, announced = ways["process interactions", "EVALSHA profiles"], ways[frame]
    assert process.start_ns <= write.start_ns <= announced.start_ns <= sent.start_ns <= sent.end_ns
    assert not any(span.failed for span in trace)


def test_a_recorded_event_continues_the_trace_of_its_caller(traced: Traced) -> None:
    trace = traced.of("e" * 32)
    ways = {tuple(way(span, trace)): span for span in trace}
    call = "recstream.v1.InteractionService/Record"
    assert ways[call,].parent == "5" * 16
    assert ways[call,].attributes["rpc.response.status_code"] == "OK"
    path = (call, "send interactions", "process interactions")
    assert (
        ways[path].attributes["messaging.kafka.offset"] == ways[path[:2]].attributes["messaging.kafka.offset"]
    )
    assert ways[*path, "process announcement", "send frame"].end_ns > ways[call,].start_ns


def test_an_event_of_a_stream_continues_its_callers_trace_without_a_span_for_the_stream(
    traced: Traced,
) -> None:
    trace = traced.of("f" * 32)
    (sent,) = [span for span in trace if span.name == "send interactions"]
    assert sent.parent == "6" * 16
    assert ["send interactions", "process interactions", "process announcement", "send frame"] in [
        way(span, trace) for span in trace
    ]


@pytest.mark.parametrize("how", ["not sampled", "malformed", "oversized"])
def test_an_event_that_is_not_sampled_or_has_a_bad_header_is_applied_without_a_span(
    traced: Traced, how: str
) -> None:
    assert traced.sent[how] in traced.named
    assert {span.trace_id for span in traced.spans} == {"a" * 32, "e" * 32, "f" * 32}
    assert traced.refused == 0


def test_no_span_has_user_data(traced: Traced) -> None:
    private = {USER, *ITEMS, *traced.sent.values()}
    for span in traced.spans:
        values = [span.name, *(str(value) for value in span.attributes.values())]
        assert not [value for value in values for secret in private if secret in value]


def test_a_trace_is_drawn_with_a_bar_for_each_span(traced: Traced) -> None:
    trace = traced.of("e" * 32)
    picture = ElementTree.fromstring(waterfall(trace, "An <event>"))
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "An <event>"
    for span in trace:
        assert texts.count(span.name) == sum(each.name == span.name for each in trace)
    assert texts.index("process interactions") < texts.index("EVALSHA profiles") < texts.index("send frame")
