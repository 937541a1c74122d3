"""`recstream verify`: whether the store holds what the log says."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from cli.verification import verified
from configuration.errors import CommandError
from configuration.settings import load_settings
from profiles.errors import StoreUnavailable
from topics.errors import TopicsError


def verify(
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds in which an ingest at work may catch up")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output")] = False,
) -> None:
    """Fold the whole topic in memory and compare every profile and model state with the store.

    Exits with status 1 where anything differs.
    """
    console = Console(stderr=as_json)
    try:
        with console.status("Folding the topic and comparing every profile"):
            report = asyncio.run(verified(load_settings(), wait=wait))
    except (StoreUnavailable, TopicsError, KafkaError, TimeoutError) as error:
        raise CommandError(
            f"cannot verify: {error or 'no answer in time'}", "`recstream doctor` says what is reachable"
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
                "The topic no longer begins at its first record: what it has lost was not compared."
            )
    if not report.equal:
        raise typer.Exit(1)
