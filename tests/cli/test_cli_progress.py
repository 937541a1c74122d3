"""Without a terminal, lines name the current task."""

import io
import time

import pytest
from rich.console import Console

import cli.terminal.progress
from cli.terminal.progress import progress_on


def test_lines_name_the_current_task_and_not_one_that_is_done_except_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.terminal.progress, "LINE_EVERY_SECONDS", 0.01)
    out = io.StringIO()
    with progress_on(Console(file=out)) as progress:
        first = progress.add_task("First", total=3)
        for _ in range(30):
            progress.advance(first, 0.1 - 1e-9)
        second = progress.add_task("Second", total=2)
        progress.advance(second)
        before = len(out.getvalue())
        end = time.monotonic() + 30
        while out.getvalue().count("\n", before) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    assert set(out.getvalue()[before:].splitlines()[1:3]) == {"Second: 50 %"}
