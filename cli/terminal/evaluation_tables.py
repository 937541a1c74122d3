"""Tables of the result of an evaluation, for a terminal."""

import math
from collections.abc import Callable, Mapping, Sequence

from rich.bar import Bar
from rich.console import Group as Stacked
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from evaluation.metrics.groups import Group
from evaluation.protocols.cold import ColdMethodResult, ColdResult
from evaluation.report.results import MethodResult, Result

_BAR = 12
_BAR_FROM_WIDTH = 96
_SURE = 0.95
Cell = Callable[[MethodResult], RenderableType]


def any_table(result: Result | ColdResult, width: int) -> RenderableType:
    """Returns the tables of a result of any protocol. `width` is that of the terminal, in characters."""
    return cold_table(result) if isinstance(result, ColdResult) else result_tables(result, width)


def result_tables(result: Result, width: int = _BAR_FROM_WIDTH) -> RenderableType:
    """Returns tables of the methods with intervals, of further figures, and of groups of queries and items. `width` is
    that of the terminal, in characters."""
    left_out = "; ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in result.excluded.items() if count
    )
    asked = f"{result.queries:,} lists of {result.users:,} users, {result.items:,} items, full ranking"
    parts: list[RenderableType] = [
        _table(result.protocol, result.rows, _main(result, show_bars=width >= _BAR_FROM_WIDTH)),
        Text(f"{asked}; {left_out}" if left_out else asked, "dim"),
        *_explained(result),
        _table("Further figures", result.rows, _further()),
        _groups("NDCG@10 by events before the list", [(row.name, row.histories) for row in result.rows]),
        _groups("NDCG@10 by age of the item", [(row.name, row.ages) for row in result.rows]),
    ]
    parts += [Text(f"{row.name}: {row.note}", "dim") for row in result.rows if row.note]
    return Stacked(*parts)


def cold_table(result: ColdResult) -> RenderableType:
    """Returns a table of the recall of hidden items, compared with chance and with known items."""
    titles = {
        "full": "hidden, among all",
        "cold": "hidden, among hidden",
        "warm": "known, among as many",
    }
    table = Table(title="cold-items: Recall@10", title_justify="left")
    table.add_column("", no_wrap=True)
    for question, title in titles.items():
        table.add_column(f"{title} ({result.queries[question]:,})", justify="right")
        if question == "full":
            table.add_column("x chance", justify="right")
    table.add_column("hidden / known", justify="right")
    for row in result.rows:
        cells = [_recall(row, question) for question in titles]
        cells.insert(1, _times(row.recall["full"], result.chance["full"]))
        table.add_row(row.name, *cells, _share(row))
    chance_cells = [f"{result.chance[question]:.4f}" for question in titles]
    table.add_row("chance", chance_cells[0], "1.0", *chance_cells[1:], "", style="dim")
    return Stacked(
        table, Text(f"{result.hidden:,} items are hidden from training and from all histories", "dim")
    )


def _recall(row: ColdMethodResult, question: str) -> str:
    mean = f"{row.recall[question]:.4f}"
    if question not in row.intervals:
        return mean
    return mean + "\n{:.4f}-{:.4f}".format(*row.intervals[question])


def _times(recall: float, chance: float) -> str:
    return f"{recall / chance:.1f}" if chance else ""


def _share(row: ColdMethodResult) -> str:
    if not math.isfinite(row.of_warm):
        return ""
    return f"{row.of_warm:.2f}\n" + "{:.2f}-{:.2f}".format(*row.of_warm_interval)


def _explained(result: Result) -> list[RenderableType]:
    compared = next((row.name for row in result.rows if row.above), None)
    text = f"above: probability that the mean NDCG@10 of {compared} is above, by paired bootstrap over users"
    return [] if compared is None else [Text(text, "dim")]


def _main(result: Result, *, show_bars: bool) -> dict[str, Cell]:
    longest = max((row.intervals["ndcg@10"][1] for row in result.rows), default=0.0) or 1.0
    cells: dict[str, Cell] = {
        "HR@10": _figure("hr@10"),
        "NDCG@10": _figure("ndcg@10"),
        "95 %": lambda row: "{:.4f}-{:.4f}".format(*row.intervals["ndcg@10"]),
    }
    if show_bars:
        cells[""] = lambda row: Bar(longest, 0, row.figures["ndcg@10"], width=_BAR)
    cells["MRR@10"] = _figure("mrr@10")
    compared = next((row for row in result.rows if row.above), None)
    if compared is not None:
        cells["above"] = lambda row: _probability(compared.above.get(row.name))
    return cells


def _further() -> dict[str, Cell]:
    return {
        "NDCG@5": _figure("ndcg@5"),
        "Recall@10": _figure("recall@10"),
        "coverage": lambda row: f"{row.coverage:.1%}",
        "novelty": lambda row: f"{row.novelty:.2f}",
        "diversity": lambda row: f"{row.diversity:.3f}",
    }


def _figure(name: str) -> Cell:
    return lambda row: f"{row.figures[name]:.4f}"


def _table(title: str, rows: Sequence[MethodResult], cells: Mapping[str, Cell]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in cells:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in rows:
        table.add_row(row.name, *(cell(row) for cell in cells.values()))
    return table


def _probability(chance: float | None) -> Text:
    if chance is None:
        return Text("")
    return Text(f"{chance:.3f}", "green" if chance >= _SURE else "red" if chance <= 1 - _SURE else "")


def _groups(title: str, rows: Sequence[tuple[str, Mapping[str, Group]]]) -> Table:
    names = list(dict.fromkeys(name for _, groups in rows for name in groups))
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in names:
        count = next(groups[name].count for _, groups in rows if name in groups)
        table.add_column(f"{name} ({count:,})", justify="right")
    for row, groups in rows:
        table.add_row(row, *(f"{groups[name].ndcg:.4f}" if name in groups else "" for name in names))
    return table
