"""`recstream model`: which versions of the model answer whom, and which forms they come in."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.commands.model_compress import compress
from cli.commands.model_repository import repository
from cli.terminal.progress import progress_on
from cli.terminal.rollout_progress import TerminalListener
from configuration.settings import load_settings
from local.installation import with_installation
from rollout.publisher import Publisher
from rollout.status import RolloutStatus, rollout_status

model = typer.Typer(help="Publish versions of the model, and take them back.", no_args_is_help=True)
_Data = Annotated[Path, typer.Option(help="The folder of `recstream up`, for what no setting names")]
_Force = Annotated[
    bool, typer.Option("--force", help="Also while another version is on trial or profiles are moving")
]
_Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the profiles have moved")]
_Share = Annotated[float, typer.Option("--canary", min=0, max=1, help="The share of users that it answers")]
_USUAL = Path(".recstream")


@model.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="The folder that `recstream train` made")],
    canary: _Share = 1.0,
    force: _Force = False,
    wait: _Wait = True,
    data: _Data = _USUAL,
) -> None:
    """Serve a version beside the one before, and give it users once its item vectors are there.

    What is broken off can be done again.
    """

    async def work(publisher: Publisher) -> None:
        version = await publisher.prepare(bundle, force=force)
        if version == publisher.record.next.version and publisher.record.share != canary:
            await publisher.set_share(canary)
        await publisher.clean_up()
        if wait:
            await publisher.wait_migrated()

    _run(work, data)


@model.command()
def promote(canary: _Share = 1.0, wait: _Wait = True, data: _Data = _USUAL) -> None:
    """Give the newer version all users, or another share of them."""

    async def work(publisher: Publisher) -> None:
        await publisher.set_share(canary)
        if wait:
            await publisher.wait_migrated()

    _run(work, data)


@model.command()
def rollback(data: _Data = _USUAL) -> None:
    """Let the version before answer everybody again, at once."""
    _run(lambda publisher: publisher.roll_back(), data)


@model.command()
def retire(force: _Force = False, data: _Data = _USUAL) -> None:
    """Remove the version that answers nobody, and whatever broken-off work has left."""

    async def work(publisher: Publisher) -> None:
        await publisher.retire(force=force)
        await publisher.clean_up()

    _run(work, data)


@model.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output")] = False,
    data: _Data = _USUAL,
) -> None:
    """Show the versions, whom they answer, and how far the profiles have moved."""
    settings = with_installation(load_settings(), data)
    report = asyncio.run(rollout_status(settings))
    if as_json:
        print(json.dumps(asdict(report)))
        return
    console = Console(highlight=False)
    if not report.versions:
        console.print("No version is published: `recstream model publish BUNDLE` does it.")
    else:
        console.print(_table(report))
    if report.profiles is None:
        console.print("The profiles could not be counted: the store does not answer.")
    elif report.remaining:
        console.print(f"{report.remaining:,} of {report.profiles:,} profiles have yet to move.")
    if report.leftovers:
        console.print(f"Left behind: {report.leftovers}. `recstream model retire` removes it.")


model.command()(compress)
model.command()(repository)


def _table(report: RolloutStatus) -> Table:
    table = Table(box=None)
    for heading in (
        "version",
        "created",
        "width",
        "answers",
        "profiles",
        "items to embed",
        "Triton",
        "bundle",
    ):
        table.add_column(heading, justify="right" if heading in ("profiles", "items to embed") else "left")
    for each in report.versions:
        table.add_row(
            str(each.version),
            each.created,
            str(each.width),
            f"{each.share:.0%}",
            "?" if each.profiles is None else f"{each.profiles:,}",
            f"{each.items_to_embed:,}",
            "ready" if each.ready else "[red]not ready[/]",
            "there" if each.bundle_stored else "[yellow]not here[/]",
        )
    return table


def _run(work: Callable[[Publisher], Awaitable[None]], data: Path) -> None:
    settings = with_installation(load_settings(), data)
    console = Console()

    async def publish_with_progress() -> None:
        with progress_on(console) as progress:
            async with Publisher(settings, TerminalListener(console, progress)) as publisher:
                await work(publisher)

    asyncio.run(publish_with_progress())
