"""`recstream train`: from files to a model bundle."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from cli.files import FileForm, Files, read_files, with_file_options
from cli.progress import progress_on
from cli.reports import preparation_table, report_table
from cli.settings import load_settings
from datasets.interactions import Interactions
from profiles.actions import Actions


class Protocol(StrEnum):
    """As `recstream evaluate` names them; the two with one point in time learn from the same."""

    LEAVE_ONE_OUT = "leave-one-out"
    NEXT_ITEM = "next-item"
    FUTURE = "future"
    COLD_ITEMS = "cold-items"


@with_file_options
def train(
    form: FileForm,
    interactions: Annotated[
        list[Path], typer.Option(help="CSV, TSV, Parquet, JSON lines, ...; several are merged by time")
    ],
    items: Annotated[
        list[Path] | None, typer.Option(help="The same for items: their text is what the model reads")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle; else the setting `bundle`")
    ] = None,
    until: Annotated[
        float, typer.Option(min=0.01, max=1, help="Learn from this first share by time only")
    ] = 1.0,
    protocol: Annotated[
        Protocol | None,
        typer.Option(help="Learn from what `recstream evaluate --protocol` leaves to training, and no more"),
    ] = None,
) -> None:
    """Train the model on a CPU or GPU and write the bundle that Triton and the servers take."""
    settings = load_settings()
    console = Console()
    files = read_files(interactions, items or (), form)
    for report in files.reports:
        console.print(report_table(report))
    if until < 1 and not files.interactions.timed:
        raise CommandError(
            "--until needs times, and these files have none",
            "leave it out, or hold out each user's last item",
        )
    if until < 1 and protocol is not None:
        raise CommandError("--until and --protocol both say what to learn from", "name one of them")
    rows = files.interactions.split(until)[0]
    _train(rows, files, protocol, bundle or settings.bundle, console)


def _train(
    rows: Interactions, files: Files, protocol: Protocol | None, bundle: Path, console: Console
) -> None:
    try:
        from cli.evaluation import item_texts
        from models.data import events
        from models.errors import ModelsError
        from models.evaluation.split import training_part
        from models.preparation import prepare
        from models.train import train_on
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
            "cache": settings.train.cache or bundle.with_name("item-vectors"),
        }
    )
    texts = item_texts(files)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with progress_on(console) as progress:
            actions = Actions(wanted.actions)
            learned = events([rows], texts, actions)
            if protocol is not None:
                learned = training_part(learned, protocol.value)
            prepared = prepare(learned, np.ones(len(learned), np.bool_), wanted.preparation, actions)
            console.print(preparation_table(prepared.report))
            fingerprint = learned.fingerprint()
            learned = learned.take(np.flatnonzero(prepared.keep))
            manifest = train_on(learned, texts, wanted, bundle, progress, fingerprint)
    except ModelsError as error:
        raise CommandError(f"training failed: {error}") from error
    table = Table(title=f"{bundle}: version {manifest.version}", title_justify="left", show_header=False)
    table.add_row("trained in", f"{time.monotonic() - started:.0f} s")
    table.add_row("events, items", f"{len(learned):,}, {len(texts):,}")
    for name, value in sorted(manifest.metrics.items()):
        table.add_row(name, f"{value:,.4g}")
    console.print(table)
