"""The output of the replay: a few lists that change, live on a terminal, or as lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.commands.watch import moved
from recstream.client import Recommendations

FEATURED = 3
SHOWN = 6
LINE_EVERY_SECONDS = 10.0
REFRESH_PER_SECOND = 5


class Stage:
    """Shows the lists of the first few users who get one over their streams."""

    def __init__(self, console: Console, total: int, titles: dict[str, str]) -> None:
        self._console = console
        self._titles = titles
        self._tables: dict[str, Table] = {}
        self._before: dict[str, list[str]] = {}
        self._lines = 0.0
        self._done = 0
        self._total = total
        self._progress = Progress(
            TextColumn("Replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        )
        self._task = self._progress.add_task("replay", total=total)
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_SECOND, get_renderable=self._render)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def advance(self) -> None:
        """Counts one more sent event."""
        self._done += 1
        self._progress.advance(self._task)

    def on_list(self, user: str, answer: Recommendations) -> None:
        """Shows a list that a stream brought."""
        if user not in self._before and len(self._before) >= FEATURED:
            return
        before, ids = self._before.get(user, []), list(answer.item_ids)
        self._before[user] = ids
        if self._console.is_terminal:
            self._tables[user] = self._table(user, answer, before)
        elif answer.causes and ids != before and time.monotonic() - self._lines > LINE_EVERY_SECONDS:
            self._lines = time.monotonic()
            self._console.print(self._line(user, answer, before), highlight=False)

    def _why(self, answer: Recommendations) -> str:
        causes = [cause for cause in answer.causes if cause.item_id]
        return f"after {causes[-1].action} {self._title(causes[-1].item_id)}" if causes else ""

    def _line(self, user: str, answer: Recommendations, before: list[str]) -> str:
        new = [self._title(item_id) for item_id in answer.item_ids if item_id not in before]
        changed = f"new: {', '.join(new)}" if new else "the same films, in another order"
        return f"{self._done:>6,} of {self._total:,}  user {user} {self._why(answer)}: {changed}"

    def _table(self, user: str, answer: Recommendations, before: list[str]) -> Table:
        table = Table(
            title=f"user {user} {self._why(answer)}", title_justify="left", box=None, show_header=False
        )
        for place, item in enumerate(answer[:SHOWN]):
            table.add_row(moved(item.item_id, place, before), self._title(item.item_id)[:34])
        return table

    def _render(self) -> Group:
        return Group(Columns(self._tables.values(), equal=True, expand=True), self._progress)

    def _title(self, item_id: str) -> str:
        return self._titles.get(item_id, item_id)
