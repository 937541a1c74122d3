"""The options by which `train`, `import`, `evaluate` and `model compress` say what their files are."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Concatenate, Literal, ParamSpec, TypeVar, get_type_hints

import typer

from readers.files import Files, read_files
from readers.interactions.format_options import InteractionOptions
from readers.interactions.reading import FORMATS
from readers.items.items import ItemOptions
from readers.tables.text import Layout

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a command line says of its files: the fields are its options. None: guessed, and said in the
    report."""

    format: Annotated[
        str | None, typer.Option(help=f"Of interactions: {', '.join(FORMATS)}; else by their first lines")
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

    def read(self, interactions: Sequence[Path], items: Sequence[Path] = ()) -> Files:
        """Reads the files as these options say. Raises UnreadableFile, typer.BadParameter."""
        return read_files(
            interactions,
            items,
            interaction_options=self.of_interactions(),
            item_options=self.of_items(),
            format_name=self.format,
        )

    def of_interactions(self) -> InteractionOptions:
        """For the reader of interactions."""
        names = tuple(name.strip() for name in self.header.split(",")) if self.header else None
        return InteractionOptions(
            Layout(self.separator, self.encoding, names), self.action, self.value_range, self.time_unit,
            self.columns, ties=self.ties, tie_seed=self.tie_seed,
        )  # fmt: skip

    def of_items(self) -> ItemOptions:
        """For the reader of items. The separator of sequences is none of their attributes' file."""
        separator = None if self.format == "sequences" else self.separator
        return ItemOptions(Layout(separator, self.encoding), domain=self.domain, columns=self.columns)


def with_file_options(command: Callable[Concatenate[FileOptions, P], R]) -> Callable[P, R]:
    """A command whose first parameter is a FileOptions, as one with an option for each of its fields, after its
    own."""
    hints = get_type_hints(FileOptions, include_extras=True)
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    taken = {parameter.name for parameter in own}
    defaults = {name: getattr(FileOptions(), name) for name in hints if name not in taken}
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in defaults.items()
    ]

    @wraps(command)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {name: kwargs.pop(name) for name in defaults if name in kwargs}
        # Typer has checked the values against the annotations; a dict of them is `object` to a type checker.
        return command(FileOptions(**given), *args, **kwargs)  # type: ignore[arg-type]

    # What typer reads; to a type checker a function has no such attribute.
    called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return called
