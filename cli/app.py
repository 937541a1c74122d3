"""The `recstream` command and its subcommands. A subcommand's modules are imported when it is called."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from configuration.settings import set_from_flags

# In the order of the help page. Each value names a function, or a typer.Typer with subcommands.
COMMANDS = {
    "demo": "cli.commands.demo:demo",
    "up": "cli.commands.up:up",
    "doctor": "cli.commands.doctor:doctor",
    "train": "cli.commands.train:train",
    "evaluate": "cli.commands.evaluate:evaluate",
    "model": "cli.commands.model:model",
    "surfaces": "cli.commands.surfaces:surfaces",
    "import": "cli.commands.import_:import_",
    "recommend": "cli.commands.recommend:recommend",
    "rank": "cli.commands.rank:rank",
    "top": "cli.commands.top:top",
    "watch": "cli.commands.watch:watch",
    "items": "cli.commands.items:items",
    "verify": "cli.commands.verify:verify",
    "events": "cli.commands.events:events",
    "topics": "cli.commands.topics:topics",
    "ingest": "cli.commands.ingest:ingest",
    "serve": "cli.commands.serve:serve",
}


class LazyGroup(TyperGroup):
    """A group that imports each command only when it is called, so that serving does not load training code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of the commands, in order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command of that name, or None."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found = getattr(import_module(module), name)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = cmd_name
            return group
        one = typer.Typer(add_completion=False)
        one.command(cmd_name)(found)
        return get_command(one)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def recstream(
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with settings. Default: the file that RECSTREAM_CONFIG names"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="NAME=VALUE: any setting, such as kafka.bootstrap=host:9092. May be repeated"
        ),
    ] = None,
) -> None:
    """A real-time recommender: it reads events from Kafka and serves freshly ranked lists over gRPC."""
    set_from_flags(set_ or (), config)
