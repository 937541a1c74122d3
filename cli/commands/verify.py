"""`recstream verify`: compares the store with a fold of the log."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import CommandError
from configuration.settings import load_settings
from ingest.verify.store_check import check_store


def verify(
    wait: Annotated[float, typer.Option(min=0, help="Seconds that a running ingest has to catch up")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document")] = False,
) -> None:
    """Fold the whole topic in memory, and compare every profile and model state with the store.

    Exits with status 1 if anything differs.
    """
    console = Console(stderr=as_json)
    with console.status("Folding the topic and comparing every profile"):
        try:
            report = asyncio.run(check_store(load_settings(), wait=wait))
        except TimeoutError as error:
            raise CommandError(
                f"the catalogue was not read from Kafka in time: {error or 'no answer'}",
                "`recstream doctor` says what is reachable",
            ) from error
    if as_json:
        print(json.dumps({"equal": report.equal, **asdict(report)}))
    else:
        for difference in report.differences:
            console.print(f"[red]{difference.user_id}[/]: {difference.what}", highlight=False)
        if report.difference_count > len(report.differences):
            console.print(f"... and {report.difference_count - len(report.differences):,} more")
        verdict = "equal" if report.equal else f"{report.difference_count:,} differences"
        console.print(
            f"{report.users:,} profiles, {report.records:,} records, {report.states_compared:,} model states compared "
            f"({report.states_stale:,} stale, {report.states_unchecked:,} unchecked): {verdict}",
            highlight=False,
        )
        if not report.whole:
            console.print(
                "The topic no longer begins at its first record. Events that it has lost were not compared."
            )
    if not report.equal:
        raise typer.Exit(1)
