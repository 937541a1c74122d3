"""`recstream events`: tells producers what ingest makes of their records."""

import asyncio
import json
import os
import sys
import time
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.errors import CommandError
from configuration.settings import load_settings
from profiles.actions import IMPRESSION
from profiles.folding.events import Event, SlateImpression
from profiles.mappings import EventMapping
from profiles.ready_mappings import READY
from profiles.record_check import RecordCheck

# Records between two messages of progress, bytes by which text is told from other files, and bytes of a record at most.
_PROGRESS, _PEEK, _MOST_BYTES = 1000, 4096, 2_000_000

events = typer.Typer(help="Check records of interactions.", no_args_is_help=True)


@events.callback()
def _group() -> None:
    """Keeps `check` a subcommand."""


@events.command()
def check(
    source: Annotated[
        str, typer.Argument(help="A file with one record a line, `-` for standard input, or a Kafka topic")
    ],
    newest: Annotated[
        int, typer.Option(min=1, help="Of a topic, only so many of the newest records of each partition")
    ] = 100_000,
    mapping: Annotated[
        list[str] | None,
        typer.Option(help="Try this mapping before those of the settings, and show what records become"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document")] = False,
) -> None:
    """Tell what ingest would make of records: counts by outcome and reason, and examples. Nothing is applied.

    `--mapping` names a mapping of the settings or a ready-made one. A file that is not text is one record, such as an
    event in protobuf. Exits with status 1 if a record is refused.
    """
    settings = load_settings()
    found = RecordCheck(settings.profiles, _mappings(mapping or (), settings.ingest.mappings))
    console = Console(stderr=as_json, highlight=False)
    with console.status(f"Checking {source}") as status:

        def progress(records: int) -> None:
            status.update(f"Checking {source}: {records:,} records")

        if source == "-":
            with os.fdopen(sys.stdin.fileno(), "rb", closefd=False) as file:
                _check_file(file, found, progress)
        elif Path(source).is_file():
            with Path(source).open("rb") as file:
                _check_file(file, found, progress)
        else:
            asyncio.run(_check_topic(source, newest, found, progress))
    if as_json:
        print(
            json.dumps(
                {
                    "records": found.records,
                    "actions": found.actions,
                    "passed_over": found.passed_over,
                    "unknown_actions": found.unknown_actions,
                    "clocks_ahead": found.clocks_ahead,
                    "erasures": found.erasures,
                    "refused": found.refused,
                    "examples": {
                        why: [asdict(each) for each in some] for why, some in found.examples.items()
                    },
                    "unknown_fields": found.unknown,
                    "fitting_mappings": found.fitting,
                    **({"became": _became(found)} if mapping else {}),
                }
            )
        )
    else:
        _show(found, console)
        if mapping:
            _show_became(found, console)
    if found.refused:
        raise typer.Exit(1)


def _mappings(names: Sequence[str], configured: Sequence[EventMapping]) -> list[EventMapping]:
    known = {each.name: each for each in configured}
    chosen = []
    for name in names:
        if name not in known and name not in READY:
            every = ", ".join(sorted({*known, *READY}))
            raise CommandError(f"there is no mapping {name!r}", f"there are {every}")
        chosen.append(known.get(name) or EventMapping.model_validate(name))
    return [*chosen, *(each for each in configured if each.name not in names)]


def _check_file(file: BufferedReader, found: RecordCheck, progress: Callable[[int], None]) -> None:
    now = int(time.time() * 1000)
    if not _is_text(file.peek(_PEEK)):
        found.add(file.read(_MOST_BYTES), (), now, "the file")
        return
    for number, line in enumerate(file, 1):
        if line.strip():
            found.add(line.rstrip(b"\r\n"), (), now, f"line {number}")
        if number % _PROGRESS == 0:
            progress(found.records)


def _is_text(head: bytes) -> bool:
    try:
        getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


async def _check_topic(topic: str, newest: int, found: RecordCheck, progress: Callable[[int], None]) -> None:
    from ingest.consuming.offsets import partitions_of, reader
    from ingest.consuming.read_topic import read_to_end
    from topics.errors import TopicMissing

    kafka = load_settings().kafka
    try:
        partitions = await partitions_of(kafka, topic)
    except TopicMissing as error:
        raise CommandError(
            f"{topic!r} is neither a file here nor a topic of {kafka.bootstrap}",
            f"the topic of events is {kafka.topics.interactions!r}",
        ) from error
    async with reader(
        kafka, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign(partitions)
        async for record in read_to_end(consumer, partitions, newest=newest):
            place = f"partition {record.partition}, offset {record.offset}"
            found.add(record.value, record.headers, record.timestamp, place)
            if found.records % _PROGRESS == 0:
                progress(found.records)


def _show(found: RecordCheck, console: Console) -> None:
    refused = sum(found.refused.values())
    taken = found.records - refused - found.passed_over - found.counting_nothing
    console.print(f"{found.records:,} records, {taken:,} accepted, {refused:,} refused")
    accepted = {**found.actions, **({"erasure": found.erasures} if found.erasures else {})}
    for action, count in sorted(accepted.items(), key=lambda pair: -pair[1]):
        console.print(f"  {action}: {count:,}", markup=False)
    if found.passed_over:
        console.print(f"events of a kind that this release does not know, passed over: {found.passed_over:,}")
    if found.unknown_actions:
        names = _names(found.unknown_actions)
        console.print(
            f"events of actions that the settings do not have, which count nothing: {names}", markup=False
        )
    if found.clocks_ahead:
        console.print(
            f"events from clocks that are ahead, moved to their record's time: {found.clocks_ahead:,}"
        )
    if found.unknown:
        console.print(f"fields that are passed over: {_names(found.unknown)}", markup=False)
    if found.fitting:
        console.print(
            f"records that a ready-made mapping takes (--mapping NAME): {_names(found.fitting)}", markup=False
        )
    if not refused:
        return
    table = Table("Reason", "Records", "Example", "Why")
    for reason, count in found.refused.most_common():
        for at, example in enumerate(found.examples[reason]):
            first = (reason, f"{count:,}") if not at else ("", "")
            table.add_row(*first, Text(f"{example.place}\n{example.value}"), Text(example.detail))
    console.print(table)


def _names(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.most_common())


def _became(found: RecordCheck) -> list[dict[str, object]]:
    return [
        {"place": each.place, "events": [_event(event) for event in each.events]} for each in found.became
    ]


def _show_became(found: RecordCheck, console: Console) -> None:
    table = Table("Record", "User", "Action", "Item", "Time", "Event id")
    for each in found.became:
        rows = [_event(event) for event in each.events] or [{"action": "counts nothing"}]
        for at, row in enumerate(rows):
            cells = [each.place if not at else ""]
            cells += [str(row.get(name, "")) for name in ("user", "action", "item", "time", "event_id")]
            table.add_row(*map(Text, cells))
    console.print(table)


def _event(event: Event | SlateImpression) -> dict[str, object]:
    """An event for a reader. Its id is left out if it is only the record's place."""
    own_id = not event.event_id.startswith(event.position.event_id)
    return {
        "user": event.user_id,
        "action": event.action if isinstance(event, Event) else IMPRESSION,
        "item": event.item_id if isinstance(event, Event) else ", ".join(event.item_ids),
        "time": datetime.fromtimestamp(event.time_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "event_id": event.event_id if own_id else "",
    }
