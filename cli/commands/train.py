"""`recstream train`: from files to a model bundle."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from catalog.items import check, from_proto
from cli.commands.import_ import report_table
from cli.errors import CommandError
from cli.progress import progress_on
from cli.settings import load_settings
from datasets.errors import UnreadableFile
from datasets.interactions import InteractionFormat, Interactions, read_interactions
from datasets.items import ItemFormat, read_items
from recstream.v1 import item_pb2


def train(
    interactions: Annotated[Path, typer.Option(help="CSV, TSV, Parquet or JSON lines")],
    items: Annotated[
        Path | None, typer.Option(help="The same for items: their text is what the model reads")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle; else the setting `bundle`")
    ] = None,
    until: Annotated[
        float, typer.Option(min=0.01, max=1, help="Learn from this first share by time only")
    ] = 1.0,
) -> None:
    """Train the model on a CPU or GPU and write the bundle that Triton and the servers take."""
    settings = load_settings()
    console = Console()
    try:
        rows, report = read_interactions(interactions, InteractionFormat())
        console.print(report_table(report))
        catalogue: list[item_pb2.Item] = []
        if items is not None:
            catalogue, report = read_items(items, ItemFormat())
            console.print(report_table(report))
    except UnreadableFile as error:
        raise CommandError(str(error)) from error
    _train(rows.split(until)[0], catalogue, bundle or settings.bundle, console)


def _train(rows: Interactions, catalogue: list[item_pb2.Item], bundle: Path, console: Console) -> None:
    try:
        from models.data import ItemText
        from models.errors import ModelsError
        from models.train import train as train_model
    except ModuleNotFoundError as error:
        raise CommandError(
            f"training needs {error.name}", "`make install` brings the group `models`"
        ) from error
    settings = load_settings()
    # The profiles' own figures: a state must cover what the history holds, with the actions that are configured.
    wanted = settings.train.model_copy(
        update={
            "history": settings.profiles.history,
            "refold_every": settings.profiles.refold_every,
            "actions": settings.profiles.actions,
            "half_life_days": settings.ranking.popularity_half_life_days,
            "cache": settings.train.cache or bundle.with_name("text-vectors.npz"),
        }
    )
    texts = [
        ItemText(item.item_id, from_proto(item).text(), item.published_at_ms or None)
        for item in catalogue
        if not check(item)
    ]
    bundle.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with progress_on(console) as progress:
            manifest = train_model(rows, texts, wanted, bundle, progress)
    except ModelsError as error:
        raise CommandError(f"training failed: {error}") from error
    table = Table(title=f"{bundle}: version {manifest.version}", title_justify="left", show_header=False)
    table.add_row("trained in", f"{time.monotonic() - started:.0f} s")
    table.add_row("events, items", f"{len(rows):,}, {len(texts):,}")
    for name, value in sorted(manifest.metrics.items()):
        table.add_row(name, f"{value:,.4g}")
    console.print(table)
