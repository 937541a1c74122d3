"""Reads the CPU time and resident memory of the processes of a stack from the kernel."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.stack import Stack

PARTS = ("kafka", "valkey", "triton", "ingest", "server")


@dataclass(frozen=True, slots=True)
class Used:
    """The costs of one part, including its child processes.

    Attributes:
        seconds: CPU seconds so far.
        bytes: Resident memory.
    """

    seconds: float
    bytes: int


def used(stack: Stack) -> dict[str, Used]:
    """Returns the costs of every part."""
    found = {}
    for name in PARTS:
        seconds = size = 0.0
        for pid in _tree(stack.parts[name].process.pid or 0):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            size += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found[name] = Used(seconds, int(size))
    return found


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def spent(before: dict[str, Used], after: dict[str, Used], count: float) -> dict[str, float]:
    """Returns the CPU microseconds for each of `count` operations, by part."""
    return {name: round((after[name].seconds - before[name].seconds) / count * 1e6, 1) for name in PARTS}
