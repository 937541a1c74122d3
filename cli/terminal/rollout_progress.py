"""Shows the progress of a rollout in a terminal."""

from rich.console import Console
from rich.progress import Progress, TaskID


class TerminalListener:
    """Prints messages, and has a progress bar for each long step. A `rollout.progress.ProgressListener`."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def message(self, text: str) -> None:
        """Prints the message as one line."""
        self._console.print(text, highlight=False)

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Moves the bar of the step. The bar of a step with nothing to do is full at once."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=None)
        if total == 0:
            done = total = 1
        self._progress.update(self._tasks[step], completed=done, total=total)
