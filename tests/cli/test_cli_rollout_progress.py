"""Each step of a rollout has a progress bar on a terminal."""

import io

from rich.console import Console
from rich.progress import Progress

from cli.terminal.rollout_progress import TerminalListener


def test_a_step_has_one_bar_that_moves_and_fills() -> None:
    console = Console(file=io.StringIO())
    progress = Progress(console=console, disable=True)
    listener = TerminalListener(console, progress)
    for done in (0, 3, 7):
        listener.progress("Computing item vectors", done, 7)
    listener.progress("Moving profiles", 0, 0)
    listener.message("version 2 answers 10% of the users")
    vectors, profiles = progress.tasks
    assert (vectors.description, vectors.completed, vectors.total) == ("Computing item vectors", 7, 7)
    assert profiles.finished, "a step without anything to do is over"
    assert "version 2 answers 10%" in console.file.getvalue()
