"""`python -m cli.commands.quality`, or `make quality`: trains, measures, and writes docs/quality.md."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import CommandError
from cli.terminal.evaluation_tables import result_tables
from cli.terminal.progress import progress_on
from configuration.settings import load_settings
from evaluation.baselines.fit import NAMES
from evaluation.quality.machine import machine
from evaluation.quality.page import write_page
from evaluation.quality.run import Plan, Quality
from inference.errors import BundleRefused
from models.errors import ModelsError
from ranking.settings import DEFAULT_SURFACE
from readers.errors import UnreadableFile


def quality(
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds to train each model with")] = 5,
    baselines: Annotated[str, typer.Option(help="Baselines, separated by commas")] = ",".join(NAMES),
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings at a time; they share the threads of train.threads")
    ] = 2,
    surface: Annotated[str, typer.Option(help="Surface whose lists are measured")] = DEFAULT_SURFACE,
    folder: Annotated[
        Path, typer.Option(help="Folder for models and measurements. An interrupted run continues from it")
    ] = Path(".recstream/quality"),
    page: Annotated[Path, typer.Option(help="Markdown file. The chart is written beside it")] = Path(
        "docs/quality.md"
    ),
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a line of JSON at the end: a list with a result per protocol"),
    ] = False,
) -> None:
    """Measure all three protocols on MovieLens-100K, with several seeds and every baseline."""
    console = Console(stderr=as_json)
    names = tuple(name.strip() for name in baselines.split(",") if name.strip())
    try:
        made = Quality(
            load_settings(),
            Plan(folder, tuple(range(seeds)), names, jobs=jobs, surface=surface),
            console,
            lambda: progress_on(console),
        ).run()
    except (ModelsError, BundleRefused, UnreadableFile) as error:
        raise CommandError(str(error)) from error
    write_page(page, made, machine())
    for result in made.results:
        console.print(result_tables(result, console.width))
    console.print(f"{page} is written", highlight=False)
    if as_json:
        print(json.dumps([result.as_dict() for result in made.results]), flush=True)


def main() -> None:
    """Runs the command. Prints an error of the command as one line."""
    try:
        typer.run(quality)
    except CommandError as error:
        Console(stderr=True).print(f"error: {error.what}", highlight=False, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted: the same command continues where this one stopped")
        sys.exit(130)


if __name__ == "__main__":
    main()
