"""Tables of the reports of files and of preparation."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from readers.report import Report


def report_table(report: Report) -> RenderableType:
    """Returns how a file was read, and what was wrong in how many rows."""
    form = f", read as {report.format}" if report.format else ""
    parts: list[RenderableType] = [Text(f"{report.path}{form}: {report.kept:,} of {report.rows:,} rows")]
    parts += [Text(f"  {note}", style="dim") for note in report.notes]
    if report.findings:
        rows = ((k, f"{f.rows:,}", f.done, ", ".join(map(str, f.lines))) for k, f in report.findings.items())
        parts.append(_table(("found", "rows", "done", "first lines"), rows))
    return Group(*parts)


class PreparationStep(Protocol):
    """One check of the training rows."""

    @property
    def name(self) -> str: ...
    @property
    def done(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def users(self) -> int: ...
    @property
    def items(self) -> int | None: ...


class Preparation(Protocol):
    """The interface of `models.data.preparation.PreparationReport`. This module must not import torch."""

    @property
    def rows(self) -> int: ...
    @property
    def kept(self) -> int: ...
    @property
    def held_out(self) -> int: ...
    @property
    def held_out_tied(self) -> int: ...
    @property
    def steps(self) -> Sequence[PreparationStep]: ...


def preparation_table(report: Preparation) -> RenderableType:
    """Returns what was left out of training, and what was found but stays."""
    parts: list[RenderableType] = [Text(f"trained on: {report.kept:,} of {report.rows:,} events")]
    if report.held_out:
        tied = f"{report.held_out_tied:,} of them share user and moment with another event"
        parts.append(Text(f"  held out: {report.held_out:,} events; {tied}", style="dim"))
    rows = (
        (
            step.name,
            f"{step.rows:,}",
            f"{step.users:,}",
            "" if step.items is None else f"{step.items:,}",
            step.done,
        )
        for step in report.steps
        if step.rows
    )
    parts.append(_table(("found", "events", "users", "items", "done"), rows))
    return Group(*parts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    numbers = {"rows", "events", "users", "items"}
    table = Table()
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(*row)
    return table
