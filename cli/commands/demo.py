"""`recstream demo`: the whole system on MovieLens-100K."""

import json
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from cli.demo.run import Plan, run
from configuration.settings import load_settings


def demo(
    data: Annotated[Path, typer.Option(help="Folder for the model and the data of the servers")] = Path(
        ".recstream/demo"
    ),
    per_second: Annotated[float, typer.Option(min=0.1, help="Events replayed a second")] = 50.0,
    held: Annotated[int, typer.Option(min=1, max=150, help="Users whose streams stay open")] = 20,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Replay only this many events. Default: all 10,000")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON document")] = False,
) -> None:
    """Train on the first 90 % of MovieLens-100K, replay the other events live, and measure latency and hit rate.

    Starts all servers on this machine and stops them at the end.
    """
    console = Console(stderr=as_json)
    figures = uvloop.run(run(load_settings(), Plan(data.resolve(), per_second, held, limit), console))
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        console.print(_table(figures))


def _table(figures: dict[str, object]) -> Table:
    table = Table(title="Measured", title_justify="left", show_header=False)
    for name, value in figures.items():
        if isinstance(value, dict):
            for inner, number in value.items():
                table.add_row(f"{name} {inner}", str(number))
        else:
            table.add_row(name, str(value))
    return table
