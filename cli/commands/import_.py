"""`recstream import`: sends files to the topics."""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.file_options import FileOptions, with_file_options
from cli.terminal.progress import progress_on
from cli.terminal.reports import report_table
from configuration.settings import load_settings
from readers.interactions.interactions import Interactions
from readers.items.images import with_images
from readers.messages import interaction_records, item_records
from readers.report import Report
from recstream.v1 import item_pb2
from topics.closing import close_client
from topics.names import Topics
from topics.producer import start_producer
from topics.send_all import Record, send_all
from topics.settings import KafkaSettings


@with_file_options
def import_(
    options: FileOptions,
    interactions: Annotated[
        list[Path] | None,
        typer.Option(
            help="Interactions: CSV, TSV, Parquet, JSON lines and more. Several files are merged by time"
        ),
    ] = None,
    items: Annotated[
        list[Path] | None,
        typer.Option(help="Items, in the same kinds of files. The last row of an item counts"),
    ] = None,
    shift_to_now: Annotated[
        bool, typer.Option(help="Shift all timestamps so that the last event is now")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Read and report, and send nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as one JSON document")] = False,
) -> None:
    """Read files, report the rows that cannot be used, and send the others to Kafka."""
    console = Console(stderr=as_json)
    if not interactions and not items:
        raise typer.BadParameter("nothing to import: give --interactions FILE, --items FILE, or both")
    files = options.read(interactions or (), items or ())
    rows = files.interactions
    if shift_to_now and len(rows):
        shift = int(time.time() * 1000) - int(rows.time_ms[-1])
        rows = rows.shifted(shift)
        files.reports[-1].notes.append(f"all timestamps shifted by {shift / 86_400_000:+.1f} days")
    elif not rows.timed:
        files.reports[-1].notes.append(
            "the timestamps are synthetic and long past; use --shift-to-now so that profiles keep the events"
        )
    if not as_json:
        for report in files.reports:
            console.print(report_table(report))
    image_report = Report("images", rows=len(files.images))
    catalogue = with_images(files.items, files.images, image_report)
    sent: dict[str, int] = {}
    if not dry_run:
        kafka = load_settings().kafka
        sent = asyncio.run(_send(kafka, len(files.items), catalogue, rows, options.domain, console))
    image_report.kept = image_report.rows - sum(finding.rows for finding in image_report.findings.values())
    if files.images and not dry_run:
        files.reports.append(image_report)
        if not as_json:
            console.print(report_table(image_report))
    if as_json:
        print(json.dumps({"files": [report.as_dict() for report in files.reports], "sent": sent}))
    elif not dry_run:
        console.print(", ".join(f"{count:,} {what} sent" for what, count in sent.items()))


async def _send(
    kafka: KafkaSettings,
    items: int,
    catalogue: Iterator[item_pb2.Item],
    rows: Interactions,
    domain: str,
    console: Console,
) -> dict[str, int]:
    topics = Topics(kafka.topic_prefix)
    sent: dict[str, int] = {}
    producer = await start_producer(kafka, linger_ms=5)
    try:
        with progress_on(console) as progress:
            plan: list[tuple[str, str, int, Iterator[Record]]] = []
            if items:
                plan.append(("items", topics.items, items, item_records(catalogue)))
            if len(rows):
                plan.append(
                    ("interactions", topics.interactions, len(rows), interaction_records(rows, domain))
                )
            for what, topic, total, records in plan:
                task = progress.add_task(f"Sending {what}", total=total)
                sent[what] = await send_all(
                    producer,
                    topic,
                    records,
                    partial(progress.advance, task),
                )
    finally:
        await close_client(producer)
    return sent
