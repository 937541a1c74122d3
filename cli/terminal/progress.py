"""Progress bars on a terminal, or a line every fifteen seconds elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_SECONDS = 15.0

# From this percentage on a line would say 100 %, so the next task counts as the current one.
_OVER = 99.5


@contextmanager
def progress_on(console: Console) -> Iterator[Progress]:
    """Yields a rich Progress. Without a terminal, a line names the current task every fifteen seconds."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    over = threading.Event()

    def lines() -> None:
        while not over.wait(LINE_EVERY_SECONDS):
            for task in progress.tasks:
                # Rounding may keep the shares of an epoch from adding up to exactly 1.
                if not task.finished and task.percentage < _OVER:
                    console.print(f"{task.description}: {task.percentage:.0f} %", highlight=False)
                    break

    printer = threading.Thread(target=lines, daemon=True)
    if not console.is_terminal:
        printer.start()
    try:
        with progress:
            yield progress
    finally:
        over.set()
        if printer.is_alive():
            printer.join()
