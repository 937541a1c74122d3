"""`recstream train`: trains a model bundle from files."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from cli.file_options import FileOptions, with_file_options
from cli.terminal.progress import progress_on
from cli.terminal.reports import preparation_table, report_table
from configuration.settings import load_settings
from inference.bundle.bundle import read
from inference.errors import BundleRefused
from models.training.distributed.torchrun import torchrun_rank
from profiles.actions import Actions
from readers.errors import UnreadableFile
from readers.files import Files
from readers.interactions.interactions import Interactions
from readers.parquet.user_partitions import parquet_rows

if TYPE_CHECKING:
    from evaluation.protocols.held_out import Name

INTERRUPTED = 130
STOPPING = "\nStopping after this step, with a checkpoint. Press Ctrl-C again to stop at once.\n"


class Protocol(StrEnum):
    """The protocols of `recstream evaluate`. `all` holds out nothing."""

    LEAVE_ONE_OUT = "leave-one-out"
    NEXT_ITEM = "next-item"
    FUTURE = "future"
    COLD_ITEMS = "cold-items"
    ALL = "all"


_LEFT: Final[Mapping[Protocol, "Name | None"]] = {
    Protocol.LEAVE_ONE_OUT: "leave-one-out",
    Protocol.NEXT_ITEM: "next-item",
    Protocol.FUTURE: "future",
    Protocol.COLD_ITEMS: "cold-items",
    Protocol.ALL: None,
}
"""The protocol whose training part the model is trained on. None: all events."""


@with_file_options
def train(
    options: FileOptions,
    interactions: Annotated[
        list[Path],
        typer.Option(
            help="Interactions: CSV, TSV, Parquet, JSON lines and more. Several files are merged by time"
        ),
    ],
    items: Annotated[
        list[Path] | None, typer.Option(help="Items, in the same kinds of files. The model reads their text")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle. Default: the setting `bundle`")
    ] = None,
    until: Annotated[
        float, typer.Option(min=0.01, max=1, help="Train on this first share of the events by time, 0 to 1")
    ] = 1.0,
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            help="Train on the training part of this protocol of `recstream evaluate`. Default: on all events, or "
            "that of leave-one-out if the files have no timestamps, like sequences"
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore the checkpoint of an interrupted training")
    ] = False,
    continued: Annotated[
        bool,
        typer.Option("--continue", help="Continue the training of the existing bundle with newer events"),
    ] = False,
) -> None:
    """Train a model on a CPU or GPUs, and write the bundle that `recstream model publish` serves.

    Several processes train one model: `torchrun --nproc-per-node N -m cli train ...`. Ctrl-C leaves a checkpoint; the
    same command resumes from it.
    """
    settings = load_settings()
    console = Console(quiet=not torchrun_rank().is_main)
    stays = stays_on_disk(interactions, options.format, settings.train.streaming.from_rows)
    if stays and (until < 1 or protocol not in (None, Protocol.ALL)):
        raise CommandError(
            "--until and --protocol need all events in memory, and these files stay on disk",
            "leave them out, or raise train.streaming.from_rows if there is enough memory (docs/training.md)",
        )
    files = options.read(() if stays else interactions, items or ())
    for report in files.reports:
        console.print(report_table(report))
    if until < 1 and not files.interactions.timed:
        raise CommandError(
            "--until needs timestamps, and these files have none",
            "leave it out, or use --protocol leave-one-out",
        )
    if until < 1 and protocol not in (None, Protocol.ALL):
        raise CommandError("--until and --protocol both choose what to train on", "give one of them")
    rows = files.interactions.split(until)[0]
    if protocol is None and not continued and not files.interactions.timed:
        protocol = Protocol.LEAVE_ONE_OUT
        console.print(
            "These files have no timestamps. Each user's last two positive events are held out, as by "
            "`recstream evaluate --protocol leave-one-out`. `--protocol all` trains on every event.",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    held_out = _LEFT[protocol] if protocol is not None else None
    if continued and (stays or held_out is not None or torchrun_rank().world_size > 1):
        raise CommandError(
            "--continue takes one process, events that fit in memory, and no --protocol",
            "give it the newer events and some history, or train from scratch without it",
        )
    source = _Source(interactions, options, held_out, stays, fresh, continued)
    _train(rows, files, source, bundle or settings.bundle, console)


def stays_on_disk(paths: Sequence[Path], format_name: str | None, from_rows: int) -> bool:
    """Whether training leaves the files on disk: Parquet files of events with a total of at least `from_rows` rows."""
    if format_name not in (None, "events"):
        return False
    try:
        rows = parquet_rows(paths)
    except UnreadableFile:
        return False  # the reader of the file reports the error
    return rows is not None and rows >= from_rows


@dataclass(frozen=True, slots=True)
class _Source:
    """What the training reads, and where it starts.

    Attributes:
        paths: The files of interactions.
        options: How they are read.
        held_out: The protocol whose training part is trained on. None: all events.
        stays: Whether the files stay on disk, so that their rows have not been read yet.
        fresh: Whether the checkpoint is ignored.
        continued: Whether the training of the existing bundle is continued.
    """

    paths: list[Path]
    options: FileOptions
    held_out: "Name | None"
    stays: bool
    fresh: bool
    continued: bool


def _text_attributes(bundle: Path) -> tuple[str, ...]:
    """The attributes whose texts the bundle reads. Raises CommandError."""
    try:
        return read(bundle).manifest.text_attributes
    except BundleRefused as error:
        raise CommandError(f"{bundle}: {error}", "train without --continue") from error


def _train(rows: Interactions, files: Files, source: _Source, bundle: Path, console: Console) -> None:
    try:
        from evaluation.data import item_texts, labelled, text_attributes
        from evaluation.protocols.split import training_part
        from models.data.events import index_events
        from models.data.preparation import prepare
        from models.errors import CheckpointRefused, ModelsError, TrainingStopped, WeightsMissing
        from models.training.continuation import continue_training
        from models.training.data_defaults import with_data_defaults
        from models.training.distributed.process_group import join_process_group
        from models.training.resume.checkpoint import Checkpoint
        from models.training.resume.stop import stop_on_signals
        from models.training.shard_folder import ShardFolder
        from models.training.train import train_on
    except ModuleNotFoundError as error:
        raise CommandError(
            f"training needs {error.name}", "`make install` installs the group `models`"
        ) from error
    settings = load_settings()
    # These are the settings of profiles, because a state has to cover the history, with the configured actions.
    wanted = settings.train.model_copy(
        update={
            "history": settings.profiles.history,
            "refold_every": settings.profiles.refold_every,
            "actions": settings.profiles.actions,
            "cache": settings.train.cache or bundle.with_name("item-vectors"),
        }
    )
    read_texts = settings.train.text_attributes
    if read_texts is None:
        # The weights of a continued training fit what it has read so far.
        read_texts = _text_attributes(bundle) if source.continued else text_attributes(files.items)
    wanted = wanted.model_copy(update={"text_attributes": read_texts})
    texts = item_texts(files, read_texts)
    has_content = any(item.text or item.media for item in texts)
    wanted, better = with_data_defaults(
        wanted, timed=files.interactions.timed, has_content=has_content, labels=labelled(files.items)
    )
    if better:
        words = ", ".join(f"{name} {value}" for name, value in better.items())
        console.print(
            f"Defaults for these files, unless set: {words}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    bundle.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with (
            stop_on_signals(STOPPING) as stop,
            join_process_group(torchrun_rank(), wanted.worker_timeout_seconds),
            progress_on(console) as progress,
        ):
            checkpoint = Checkpoint(bundle.with_name(f"{bundle.name}.checkpoint"), stop)
            if source.fresh:
                checkpoint.remove()
            if source.stays:
                folder = ShardFolder(bundle, wanted)
                shards = folder.shards(
                    source.paths,
                    texts,
                    source.options.of_interactions(),
                    progress,
                    lambda files, prepared: console.print(
                        report_table(files), preparation_table(prepared), sep="\n"
                    ),
                )
                manifest = train_on(
                    shards, texts, wanted, bundle, progress, checkpoint=checkpoint, continuable=True
                )
                folder.remove()
            else:
                actions = Actions(wanted.actions)
                training_data = index_events([rows], texts, actions)
                if source.held_out is not None:
                    training_data = training_part(training_data, source.held_out)
                prepared = prepare(
                    training_data, np.ones(len(training_data), np.bool_), wanted.preparation, actions
                )
                console.print(preparation_table(prepared.report))
                fingerprint = training_data.fingerprint()
                training_data = training_data.take(np.flatnonzero(prepared.keep))
                if source.continued:
                    manifest = continue_training(training_data, texts, wanted, bundle, progress, fingerprint)
                else:
                    manifest = train_on(
                        training_data,
                        texts,
                        wanted,
                        bundle,
                        progress,
                        fingerprint,
                        checkpoint=checkpoint,
                        continuable=True,
                    )
    except TrainingStopped as stopped:
        console.print(
            f"Stopped. The checkpoint is {stopped.checkpoint}. The same command resumes from it; --fresh ignores it.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from stopped
    except KeyboardInterrupt as interrupted:
        console.print("Interrupted. The same command resumes from the last checkpoint, if there is one.")
        raise typer.Exit(INTERRUPTED) from interrupted
    except CheckpointRefused as error:
        raise CommandError(str(error), "restore it, or ignore the checkpoint with --fresh") from error
    except WeightsMissing as error:
        raise CommandError(
            str(error), "restore it, or train without --continue, which writes what it needs"
        ) from error
    except BundleRefused as error:
        raise CommandError(f"{bundle}: {error}", "train without --continue") from error
    except ModelsError as error:
        raise CommandError(f"training failed: {error}") from error
    table = Table(title=f"{bundle}: version {manifest.version}", title_justify="left", show_header=False)
    table.add_row("trained in", f"{time.monotonic() - started:.0f} s")
    table.add_row("events, items", f"{manifest.metrics['events']:,.0f}, {len(texts):,}")
    for name, value in sorted(manifest.metrics.items()):
        table.add_row(name, f"{value:,.4g}")
    console.print(table)
