"""`recstream model`: publish versions of the model, and prepare bundles for other backends."""

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

model = typer.Typer(
    help="Publish versions of the model, roll them back, compress them, and see which are served.",
    no_args_is_help=True,
)
_Data = Annotated[Path, typer.Option(help="Folder of `recstream up`, for addresses that are not set")]
_Force = Annotated[
    bool, typer.Option("--force", help="Go on even if another version is a canary or profiles are moving")
]
_Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until every profile has moved to its version")
]
_Share = Annotated[
    float, typer.Option("--canary", min=0, max=1, help="Share of the users that the version answers, 0 to 1")
]
_USUAL = Path(".recstream")


@model.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle, as `recstream train` writes it")],
    canary: _Share = 1.0,
    force: _Force = False,
    wait: _Wait = True,
    data: _Data = _USUAL,
) -> None:
    """Serve a version beside the current one, and give it users once its item vectors are computed.

    With `--canary` it answers only a share of the users. An interrupted command can be run again.
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
    """Give the newer version all users, or the share that `--canary` names."""

    async def work(publisher: Publisher) -> None:
        await publisher.set_share(canary)
        if wait:
            await publisher.wait_migrated()

    _run(work, data)


@model.command()
def rollback(data: _Data = _USUAL) -> None:
    """Let the older version answer all users again, at once."""
    _run(lambda publisher: publisher.roll_back(), data)


@model.command()
def retire(force: _Force = False, data: _Data = _USUAL) -> None:
    """Remove the version that answers no users, and the leftovers of interrupted commands."""

    async def work(publisher: Publisher) -> None:
        await publisher.retire(force=force)
        await publisher.clean_up()

    _run(work, data)


@model.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as one JSON document")] = False,
    data: _Data = _USUAL,
) -> None:
    """Show the live versions, the share of users of each, and how many profiles have moved."""
    settings = with_installation(load_settings(), data)
    report = asyncio.run(rollout_status(settings))
    if as_json:
        print(json.dumps(asdict(report)))
        return
    console = Console(highlight=False)
    if not report.versions:
        console.print("No version is published. Publish one: `recstream model publish BUNDLE`.")
    else:
        console.print(_table(report))
    if report.profiles is None:
        console.print("The profiles could not be counted: the store does not answer.")
    elif report.remaining:
        console.print(f"{report.remaining:,} of {report.profiles:,} profiles have not moved yet.")
    if report.leftovers:
        console.print(f"Leftovers: {report.leftovers}. `recstream model retire` removes them.")


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
            "stored" if each.bundle_stored else "[yellow]missing[/]",
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
