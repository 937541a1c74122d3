"""Draws the trace of one event: from the backend that records it to the frame on a stream.

    bin/bench trace_picture [--bundle .recstream/demo/bundle] [--events 200] [--out docs/trace.svg]
    bin/bench trace_picture --traces traces.jsonl --out trace.svg

Starts the whole system in a temporary folder with the exporter `file`, imports the films of MovieLens-100K, and records
events of one user with an open stream, each in its own trace. Draws the trace of median duration among those that end
in a frame. With `--traces` it draws from an existing file.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import uvloop

from bench.waterfall import Span, read_traces, waterfall
from configuration.settings import Settings
from local.stack import Stack
from readers.messages import item_records
from readers.packaged import movielens
from recstream.client import Client, RecstreamError, new_event_id
from telemetry.tracing.settings import TracingSettings
from telemetry.tracing.spans import Followed, Origin, SpanKind
from telemetry.tracing.traced import traced
from topics.closing import close_client
from topics.producer import start_producer
from topics.send_all import send_all

USER = "ann"
EMBED_SECONDS = 600
PAUSE_SECONDS = 0.2


async def record(bundle: Path, events: int, folder: Path) -> Path:
    """Records so many events. Returns the file with their traces."""
    tracing = TracingSettings(exporter="file", file=folder / "traces.jsonl", sample_ratio=0)
    films = movielens.items()
    async with Stack(Settings(bundle=bundle, tracing=tracing), folder) as stack:
        producer = await start_producer(stack.settings.kafka)
        try:
            topic = stack.settings.kafka.topics.items
            await send_all(producer, topic, item_records(films))
        finally:
            await close_client(producer)
        async with Client(stack.address("server")) as client:
            await _all_embedded(client, [film.item_id for film in films])
            opened = asyncio.Event()
            named: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
            following = asyncio.create_task(_follow_stream(client, opened, named))
            await asyncio.wait_for(opened.wait(), 30)
            with traced(tracing, "backend"):
                for place in range(events):
                    await _one(client, films[place * 7 % len(films)].item_id, named)
                    await asyncio.sleep(PAUSE_SECONDS)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return tracing.file


async def _one(client: Client, item_id: str, named: defaultdict[str, asyncio.Event]) -> None:
    event_id = new_event_id()
    with Followed("like a film", SpanKind.INTERNAL, [Origin(None)]):
        await client.record(USER, item_id, "like", event_id=event_id)
    await asyncio.wait_for(named[event_id].wait(), 30)


async def _follow_stream(
    client: Client, opened: asyncio.Event, named: defaultdict[str, asyncio.Event]
) -> None:
    async for films in client.stream(USER, count=10):
        opened.set()
        for cause in films.causes:
            named[cause.event_id].set()


async def _all_embedded(client: Client, item_ids: list[str]) -> None:
    async with asyncio.timeout(EMBED_SECONDS):
        for item_id in item_ids:
            while True:
                with contextlib.suppress(RecstreamError):  # the server has not read the item yet
                    if (await client.item(item_id)).embedded:
                        break
                await asyncio.sleep(0.1)


def median(spans: Iterable[Span]) -> list[Span]:
    """Returns the trace of median duration among those with a frame. Raises SystemExit if there is none."""
    traces = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    whole = [trace for trace in traces.values() if any(span.name == "send frame" for span in trace)]
    if not whole:
        raise SystemExit("no trace ends in a frame: was a stream open for the user?")
    whole.sort(key=_length)
    return whole[len(whole) // 2]


def _length(trace: list[Span]) -> int:
    return max(span.end_ns for span in trace) - min(span.start_ns for span in trace)


def main() -> None:
    """Reads the arguments, runs and draws."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(".recstream/demo/bundle"))
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/trace.svg"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.traces or uvloop.run(record(options.bundle, options.events, Path(folder)))
        trace = median(read_traces(file))
    options.out.write_text(waterfall(trace, "One event, from the backend that records it to the frame"))
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine, "spans": len(trace), "ms": round(_length(trace) / 1e6, 2)}))


if __name__ == "__main__":
    main()
