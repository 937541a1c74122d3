"""`recstream doctor`: reports what is missing on this machine, which servers answer, and what to do."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.doctor.finding import Finding, Level
from cli.doctor.machine import examine
from cli.doctor.reach import reach
from configuration.settings import Settings, load_settings

_COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.MISSING: "red"}


def doctor(
    data: Annotated[Path, typer.Option(help="The folder of `recstream up`")] = Path(".recstream"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON document")] = False,
) -> None:
    """Check this machine and the servers, and say what to do.

    Exits with status 1 if something is missing that `recstream up` needs. Servers need not run.
    """
    settings = load_settings()
    bundle = settings.bundle if "bundle" in settings.model_fields_set else data / "bundle"
    bundles = settings.bundles if "bundles" in settings.model_fields_set else data / "bundles"
    machine = list(examine(data, bundle, bundles))
    servers = asyncio.run(_reach(settings, data))
    healthy = all(finding.level is not Level.MISSING for finding in machine)
    if as_json:
        findings = [asdict(finding) for finding in machine + servers]
        print(json.dumps({"healthy": healthy, "findings": findings}))
    else:
        console = Console(highlight=False)
        console.print(_table("This machine", machine))
        console.print(_table("Servers", servers))
        console.print(
            "Nothing is missing."
            if healthy
            else "[red]Something is missing. The last column says what to do.[/]"
        )
    if not healthy:
        raise typer.Exit(1)


async def _reach(settings: Settings, data: Path) -> list[Finding]:
    return [finding async for finding in reach(settings, data)]


def _table(title: str, findings: list[Finding]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.add_column("")
    table.add_column("what")
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for finding in findings:
        colour = _COLOURS[finding.level]
        table.add_row(f"[{colour}]{finding.level}[/]", finding.what, finding.found, finding.to_do)
    return table
