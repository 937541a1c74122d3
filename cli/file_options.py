"""The options that describe the files of `train`, `import`, `evaluate` and `model compress`."""

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
    """What a command line says about its files. Each field is an option.

    A field that is None is detected, or has the default of the format. The report of the file names the value.
    """

    format: Annotated[
        str | None,
        typer.Option(
            help=f"Format of the interactions: {', '.join(FORMATS)}. Default: detected from the first lines"
        ),
    ] = None
    separator: Annotated[str | None, typer.Option(help="Field separator. Default: by the file's ending")] = (
        None
    )
    encoding: Annotated[
        str | None, typer.Option(help="Text encoding. Default: UTF-8, or that of the format")
    ] = None
    header: Annotated[
        str | None,
        typer.Option(help="Column names, separated by commas, for interactions without a header line"),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="WHAT=NAME, such as user=visitor: the column that holds user, item, time, value, action or event_id"
        ),
    ] = None
    action: Annotated[
        str | None,
        typer.Option(
            help="Action of rows that name none. Default: that of the format, else `rate`, or `view` without a value"
        ),
    ] = None
    value_range: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Lowest and highest value; rows outside are dropped. Default: that of the format"),
    ] = None
    time_unit: Annotated[
        str | None,
        typer.Option(help="seconds, milliseconds, microseconds or nanoseconds. Default: by magnitude"),
    ] = None
    ties: Annotated[
        Literal["hash", "file"],
        typer.Option(help="How to order events with equal timestamps: by a seeded hash, or as in the file"),
    ] = "hash"
    tie_seed: Annotated[
        int, typer.Option(help="Seed of the hash that orders events with equal timestamps")
    ] = 0
    value_separator: Annotated[
        str | None,
        typer.Option(help="What separates several values of an attribute. Default: a cell is one value"),
    ] = None
    domain: Annotated[str, typer.Option(help="Domain of all items and events, such as `video`")] = ""

    @property
    def columns(self) -> dict[str, str]:
        """The column names, by what the columns hold. Raises typer.BadParameter."""
        pairs = {}
        for text in self.column or ():
            what, found, name = text.partition("=")
            if not found:
                raise typer.BadParameter(f"{text!r}: expected WHAT=NAME, such as user=visitor")
            pairs[what] = name
        return pairs

    def read(self, interactions: Sequence[Path], items: Sequence[Path] = ()) -> Files:
        """Reads the files with these options. Raises UnreadableFile, typer.BadParameter."""
        return read_files(
            interactions,
            items,
            interaction_options=self.of_interactions(),
            item_options=self.of_items(),
            format_name=self.format,
        )

    def of_interactions(self) -> InteractionOptions:
        """Returns the options for the reader of interactions."""
        names = tuple(name.strip() for name in self.header.split(",")) if self.header else None
        return InteractionOptions(
            Layout(self.separator, self.encoding, names), self.action, self.value_range, self.time_unit,
            self.columns, ties=self.ties, tie_seed=self.tie_seed,
        )  # fmt: skip

    def of_items(self) -> ItemOptions:
        """Returns the options for the reader of items. The separator of a file of sequences does not apply to items."""
        separator = None if self.format == "sequences" else self.separator
        return ItemOptions(
            Layout(separator, self.encoding),
            domain=self.domain,
            value_separator=self.value_separator,
            columns=self.columns,
        )


def with_file_options(command: Callable[Concatenate[FileOptions, P], R]) -> Callable[P, R]:
    """Makes a command from a function whose first parameter is a FileOptions.

    Args:
        command: The function.

    Returns:
        A function with an option for each field of FileOptions instead of that parameter, after its own options.
    """
    hints = get_type_hints(FileOptions, include_extras=True)
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    own_names = {parameter.name for parameter in own}
    defaults = {name: getattr(FileOptions(), name) for name in hints if name not in own_names}
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in defaults.items()
    ]

    @wraps(command)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {name: kwargs.pop(name) for name in defaults if name in kwargs}
        # Typer has checked the values against the annotations. A type checker sees them only as `object`.
        return command(FileOptions(**given), *args, **kwargs)  # type: ignore[arg-type]

    # Typer reads these attributes. A type checker does not know that functions have them.
    called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return called
