"""`recstream import`: files into the topics."""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as RichTable

from cli.errors import CommandError
from cli.progress import progress_on
from cli.publish import Pair, interaction_records, item_records, publish
from cli.settings import load_settings
from datasets.errors import UnreadableFile
from datasets.interactions import InteractionFormat, Interactions, read_interactions
from datasets.items import ItemFormat, read_items
from datasets.report import Report
from datasets.table import Layout
from recstream.v1 import item_pb2
from topics.names import Topics
from topics.producer import start_producer
from topics.settings import KafkaSettings

# Files without a header line, by their well-known layouts.
PRESETS = {
    "movielens-1m": (
        ("user_id", "item_id", "rating", "timestamp"),
        ("item_id", "title", "genres"),
        "latin-1",
    ),
}


def import_(
    interactions: Annotated[Path | None, typer.Option(help="CSV, TSV, Parquet or JSON lines")] = None,
    items: Annotated[Path | None, typer.Option(help="CSV, TSV, Parquet or JSON lines")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"Layout of a known data set: {', '.join(PRESETS)}")
    ] = None,
    separator: Annotated[str | None, typer.Option(help="Between fields; else by the file's ending")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the files; else UTF-8")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="WHAT=NAME: the column for user, item, time, ...")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Of rows that name none; else `rate` or `view`")] = None,
    value_range: Annotated[
        tuple[float, float] | None, typer.Option(help="Values outside are refused")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="seconds, milliseconds, ...; else by magnitude")
    ] = None,
    domain: Annotated[str, typer.Option(help="Of all rows, such as `video`")] = "",
    shift_to_now: Annotated[bool, typer.Option(help="Move all times so that the last event is now")] = False,
    dry_run: Annotated[bool, typer.Option(help="Read and report only")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output")] = False,
) -> None:
    """Read files, report what is wrong in them, and send what is right to Kafka."""
    console = Console(stderr=as_json)
    if interactions is None and items is None:
        raise typer.BadParameter("nothing to import: give --interactions FILE, --items FILE, or both")
    columns = dict(_pair(text) for text in column or [])
    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"no preset {preset!r}: one of {', '.join(PRESETS)}")
    event_names, item_names, known_encoding = PRESETS[preset] if preset else (None, None, "utf-8")
    chosen = encoding or known_encoding
    reports: list[Report] = []
    rows: Interactions | None = None
    catalogue: list[item_pb2.Item] = []
    try:
        if items is not None:
            layout = Layout(separator, chosen, item_names)
            catalogue, report = read_items(items, ItemFormat(layout, domain=domain, columns=columns))
            reports.append(report)
        if interactions is not None:
            layout = Layout(separator, chosen, event_names)
            form = InteractionFormat(layout, action, value_range, time_unit, columns)
            rows, report = read_interactions(interactions, form)
            if shift_to_now and len(rows):
                shift = int(time.time() * 1000) - int(rows.time_ms[-1])
                rows = rows.shifted(shift)
                report.notes.append(f"all times moved by {shift / 86_400_000:+.1f} days")
            reports.append(report)
    except UnreadableFile as error:
        raise CommandError(str(error)) from error
    if not as_json:
        for report in reports:
            console.print(report_table(report))
    sent = {} if dry_run else asyncio.run(_send(load_settings().kafka, catalogue, rows, domain, console))
    if as_json:
        print(json.dumps({"files": [report.as_dict() for report in reports], "sent": sent}))
    elif not dry_run:
        console.print(", ".join(f"{count:,} {what} sent" for what, count in sent.items()))


async def _send(
    kafka: KafkaSettings,
    catalogue: list[item_pb2.Item],
    rows: Interactions | None,
    domain: str,
    console: Console,
) -> dict[str, int]:
    topics = Topics(kafka.topic_prefix)
    sent: dict[str, int] = {}
    producer = await start_producer(kafka, linger_ms=5)
    try:
        with progress_on(console) as progress:
            plan: list[tuple[str, str, int, Iterator[Pair]]] = []
            if catalogue:
                plan.append(("items", topics.items, len(catalogue), item_records(catalogue)))
            if rows is not None:
                plan.append(
                    ("interactions", topics.interactions, len(rows), interaction_records(rows, domain))
                )
            for what, topic, total, records in plan:
                task = progress.add_task(f"Sending {what}", total=total)
                sent[what] = await publish(
                    producer,
                    topic,
                    records,
                    partial(progress.advance, task),
                )
    finally:
        await producer.stop()
    return sent


def _pair(text: str) -> tuple[str, str]:
    what, found, name = text.partition("=")
    if not found:
        raise typer.BadParameter(f"{text!r}: expected WHAT=NAME, such as user=visitor")
    return what, name


def report_table(report: Report) -> RichTable:
    """What was found in a file, as a table."""
    table = RichTable(title=f"{report.path}: {report.kept:,} of {report.rows:,} rows", title_justify="left")
    table.add_column("found")
    table.add_column("rows", justify="right")
    table.add_column("done")
    table.add_column("first lines")
    for note in report.notes:
        table.add_row(note, "", "", "")
    for kind, finding in report.findings.items():
        table.add_row(kind, f"{finding.rows:,}", finding.done, ", ".join(map(str, finding.lines)))
    return table
