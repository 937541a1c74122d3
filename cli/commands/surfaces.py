"""`recstream surfaces`: changes how the lists of each surface are made, without a restart."""

import asyncio
import difflib
import getpass
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError
from configuration.settings import Settings, load_settings
from local.installation import with_installation
from ranking.settings import Surfaces
from ranking.surfaces.document import to_yaml
from ranking.surfaces.record import SurfacesVersion
from rollout.surfaces import SurfacesHistory, SurfacesPublisher, read_history
from rollout.surfaces_file import read_surfaces_file

surfaces = typer.Typer(
    help="Change how the lists of each surface are made, without a restart.", no_args_is_help=True
)
_Data = Annotated[Path, typer.Option(help="Folder of `recstream up`, for addresses that are not set")]
_File = Annotated[Path, typer.Argument(help="YAML file with the keys `default` and `surfaces`")]
_Base = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Version that the change was made from, 0 for none. Refused if another is in force. Default: any",
    ),
]
_Comment = Annotated[str, typer.Option("--comment", "-m", help="Why, for the history")]
_By = Annotated[str | None, typer.Option(help="Who, for the history. Default: user@host")]
_USUAL = Path(".recstream")
_MOST_BY = 128
_MOST_COMMENT = 1_000


@surfaces.command()
def apply(
    file: _File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and print the difference; change nothing")
    ] = False,
    base: _Base = None,
    comment: _Comment = "",
    by: _By = None,
    data: _Data = _USUAL,
) -> None:
    """Put the surfaces of a file in force on every server. Prints the difference to those before."""
    settings = with_installation(load_settings(), data)
    wanted = read_surfaces_file(file, settings.profiles.actions)
    if dry_run:
        history = asyncio.run(read_history(settings.kafka))
        _print_difference(history, wanted, settings, str(file))
        return
    _publish(settings, lambda _: wanted, str(file), base=base, comment=comment, by=by)


@surfaces.command()
def rollback(
    version: Annotated[int, typer.Argument(min=1, help="A kept version, see `recstream surfaces history`")],
    base: _Base = None,
    comment: _Comment = "",
    by: _By = None,
    data: _Data = _USUAL,
) -> None:
    """Put an earlier version in force again, as a new version."""
    settings = with_installation(load_settings(), data)
    _publish(
        settings,
        lambda history: history.version(version).surfaces,
        f"version {version}",
        base=base,
        comment=comment or f"back to version {version}",
        by=by,
    )


@surfaces.command()
def reset(base: _Base = None, comment: _Comment = "", by: _By = None, data: _Data = _USUAL) -> None:
    """Put the settings of each process in force again. The versions stay in the history."""
    settings = with_installation(load_settings(), data)
    _publish(
        settings,
        lambda _: None,
        "settings",
        base=base,
        comment=comment or "back to the settings",
        by=by,
    )


@surfaces.command()
def diff(file: _File, data: _Data = _USUAL) -> None:
    """Print the difference between the surfaces in force and a file. Exits with status 1 if there is one."""
    settings = with_installation(load_settings(), data)
    wanted = read_surfaces_file(file, settings.profiles.actions)
    if _print_difference(asyncio.run(read_history(settings.kafka)), wanted, settings, str(file)):
        raise typer.Exit(1)


@surfaces.command()
def show(
    version: Annotated[
        int | None, typer.Option(min=1, help="A kept version. Default: the one in force")
    ] = None,
    of_settings: Annotated[
        bool, typer.Option("--settings", help="The surfaces of this process's settings, without asking Kafka")
    ] = False,
    data: _Data = _USUAL,
) -> None:
    """Print surfaces as a file that `recstream surfaces apply` reads."""
    if of_settings and version is not None:
        raise CommandError("--settings and --version are given", "give one of the two")
    settings = with_installation(load_settings(), data)
    if of_settings:
        print(f"# {_THESE_SETTINGS}\n{to_yaml(settings.ranking)}", end="")
        return
    history = asyncio.run(read_history(settings.kafka))
    _warn_of_refused(history)
    shown = history.in_force if version is None else history.version(version)
    if shown is None:
        print(f"# No version is in force. {_THESE_SETTINGS}\n{to_yaml(settings.ranking)}", end="")
        return
    lines = [f"# {_line(shown)}"]
    if shown.surfaces is None:
        lines.append(f"# It puts the settings in force. {_THESE_SETTINGS}")
    print("\n".join(lines) + f"\n{to_yaml(shown.surfaces or settings.ranking)}", end="")


@surfaces.command()
def history(
    as_json: Annotated[bool, typer.Option("--json", help="Print the versions as one JSON document")] = False,
    data: _Data = _USUAL,
) -> None:
    """List the kept versions, the newest first."""
    found = asyncio.run(read_history(with_installation(load_settings(), data).kafka))
    if as_json:
        rows = [
            {
                "version": each.version,
                "applied_at_ms": each.applied_at_ms,
                "applied_by": each.applied_by,
                "comment": each.comment,
                "settings": each.surfaces is None,
            }
            for each in found.versions
        ]
        print(json.dumps({"versions": rows, "refused": [list(each) for each in found.refused]}))
        return
    _warn_of_refused(found)
    for each in reversed(found.versions):
        print(_line(each))
    if not found.versions:
        print("No version was applied. The settings of each process are in force.")


_THESE_SETTINGS = "These are the settings of this process; servers may have others."


def _publish(
    settings: Settings,
    wanted: Callable[[SurfacesHistory], Surfaces | None],
    name: str,
    *,
    base: int | None,
    comment: str,
    by: str | None,
) -> None:
    who = by if by is not None else _me()
    for option, text, most in (("--by", who, _MOST_BY), ("--comment", comment, _MOST_COMMENT)):
        if len(text.encode()) > most:
            raise CommandError(f"{option} has {len(text.encode()):,} bytes", f"the limit is {most:,}")

    async def work() -> None:
        async with SurfacesPublisher(settings.kafka) as publisher:
            before = publisher.history
            surfaces = wanted(before)
            made = await publisher.apply(surfaces, applied_by=who, comment=comment, base=base)
            if before.in_force is not None and made.version == before.in_force.version:
                print(f"version {made.version} says the same; nothing was changed")
                return
            _print_difference(before, surfaces, settings, name)
            print(f"version {made.version} is applied")

    asyncio.run(work())


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:_MOST_BY]


def _print_difference(
    history: SurfacesHistory, wanted: Surfaces | None, settings: Settings, name: str
) -> bool:
    """Prints how surfaces differ from those in force, and returns whether they do."""
    now = history.in_force
    in_force = now.surfaces if now is not None and now.surfaces is not None else settings.ranking
    heading = f"version {now.version}" if now is not None else "settings"
    lines = difflib.unified_diff(
        to_yaml(in_force).splitlines(),
        to_yaml(wanted if wanted is not None else settings.ranking).splitlines(),
        heading,
        name,
        lineterm="",
    )
    found = list(lines)
    for line in found:
        print(line)
    return bool(found)


def _warn_of_refused(found: SurfacesHistory) -> None:
    for key, reason in found.refused:
        typer.echo(f"warning: the record {key} cannot be used, and servers refuse it: {reason}", err=True)


def _line(version: SurfacesVersion) -> str:
    """One line on a version. Control characters of what people wrote are escaped."""
    moment = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(version.applied_at_ms / 1000))
    comment = f": {version.comment}" if version.comment else ""
    text = f"version {version.version}, {moment}, {version.applied_by}{comment}"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
