"""The files that `train`, `import` and `evaluate` read, and what a command line says of them."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Annotated, Concatenate, Literal, ParamSpec, TypeVar, get_type_hints

import numpy as np
import typer

from configuration.errors import CommandError
from readers.errors import UnreadableFile
from readers.interactions.format_options import InteractionFormat
from readers.interactions.interactions import Interactions
from readers.interactions.reading import SHAPES, read_interactions
from readers.items.item_cells import Image
from readers.items.item_files import read_items
from readers.items.items import ItemFormat
from readers.parquet.sharding import parquet_rows
from readers.report import Report
from readers.tables.text import Layout
from recstream.v1 import item_pb2

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FileForm:
    """What a command line says of its files: the fields are its options. None: guessed, and said in the
    report."""

    format: Annotated[
        str | None, typer.Option(help=f"Of interactions: {', '.join(SHAPES)}; else by their first lines")
    ] = None
    separator: Annotated[str | None, typer.Option(help="Between fields; else by the file's ending")] = None
    encoding: Annotated[str | None, typer.Option(help="Of the files; else UTF-8, or the format's own")] = None
    header: Annotated[
        str | None, typer.Option(help="Names of columns, with commas, for interactions without a header line")
    ] = None
    column: Annotated[
        list[str] | None, typer.Option(help="WHAT=NAME: the column for user, item, time, ...")
    ] = None
    action: Annotated[
        str | None, typer.Option(help="Of rows that name none; else the format's, `rate` or `view`")
    ] = None
    value_range: Annotated[
        tuple[float, float] | None, typer.Option(help="Values outside are left out; else the format's")
    ] = None
    time_unit: Annotated[str | None, typer.Option(help="seconds, milliseconds, ...; else by magnitude")] = (
        None
    )
    ties: Annotated[
        Literal["hash", "file"], typer.Option(help="What orders events of one moment: a hash, or the file")
    ] = "hash"
    tie_seed: Annotated[int, typer.Option(help="Seed of that hash")] = 0
    domain: Annotated[str, typer.Option(help="Of all items and events, such as `video`")] = ""

    @property
    def columns(self) -> dict[str, str]:
        """Raises typer.BadParameter."""
        pairs = {}
        for text in self.column or ():
            what, found, name = text.partition("=")
            if not found:
                raise typer.BadParameter(f"{text!r}: expected WHAT=NAME, such as user=visitor")
            pairs[what] = name
        return pairs

    def of_interactions(self) -> InteractionFormat:
        """For the reader of interactions."""
        names = tuple(name.strip() for name in self.header.split(",")) if self.header else None
        return InteractionFormat(
            Layout(self.separator, self.encoding, names), self.action, self.value_range, self.time_unit,
            self.columns, ties=self.ties, tie_seed=self.tie_seed,
        )  # fmt: skip

    def of_items(self) -> ItemFormat:
        """For the reader of items. The separator of sequences is none of their attributes' file."""
        separator = None if self.format == "sequences" else self.separator
        return ItemFormat(Layout(separator, self.encoding), domain=self.domain, columns=self.columns)


@dataclass(frozen=True, slots=True)
class Files:
    """What came of the files. `interactions.timed` is False where their times are made up from places in a
    line: what needs one time for all users must refuse them. images: by item id. reports: one a file, items
    first."""

    interactions: Interactions
    items: list[item_pb2.Item]
    reports: list[Report]
    images: dict[str, Image] = field(default_factory=dict)


def read_files(
    interactions: Sequence[Path], items: Sequence[Path] = (), form: FileForm | None = None
) -> Files:
    """Reads all files of a command; without any of interactions there are none of these.

    Raises CommandError, naming the file, the line and what to do.
    """
    form = form or FileForm()
    try:
        rows, reports = read_items(items, form.of_items())
        events = Interactions.of([], [], [], np.zeros(0, np.int64))
        if interactions:
            events, more = read_interactions(interactions, form.of_interactions(), form.format)
            reports += more
    except UnreadableFile as error:
        raise CommandError(str(error)) from error
    images = {row.item.item_id: row.image for row in rows if row.image is not None}
    return Files(events, [row.item for row in rows], reports, images)


def on_disk(paths: Sequence[Path], form: FileForm, from_rows: int) -> bool:
    """Whether training is to leave the files on disk: Parquet files of events with so many rows in all."""
    if form.format not in (None, "events"):
        return False
    try:
        rows = parquet_rows(paths)
    except UnreadableFile:
        return False  # whoever reads it says what is wrong
    return rows is not None and rows >= from_rows


def with_file_options(command: Callable[Concatenate[FileForm, P], R]) -> Callable[P, R]:
    """A command whose first parameter is a FileForm, as one with an option for each of its fields, after its
    own."""
    hints = get_type_hints(FileForm, include_extras=True)
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    taken = {parameter.name for parameter in own}
    defaults = {name: getattr(FileForm(), name) for name in hints if name not in taken}
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in defaults.items()
    ]

    @wraps(command)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {name: kwargs.pop(name) for name in defaults if name in kwargs}
        # Typer has checked the values against the annotations; a dict of them is `object` to a type checker.
        return command(FileForm(**given), *args, **kwargs)  # type: ignore[arg-type]

    # What typer reads; to a type checker a function has no such attribute.
    called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return called
