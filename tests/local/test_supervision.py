"""A child that dies is reported and restarted. One that keeps dying ends the watch. A stopped one stays stopped."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from local import supervision
from local.errors import PartKeepsDying
from local.servers.process import Process
from local.supervision import Supervision
from telemetry.background import BackOff


class Sleeper:
    """A child process that sleeps, or ends at once."""

    def __init__(self, folder: Path, seconds: float = 300) -> None:
        self.process = Process("sleeper", folder / "log")
        self.starts = 0
        self._seconds = seconds

    async def start(self) -> None:
        self.starts += 1
        self.process.spawn(["sh", "-c", f"echo started; exec sleep {self._seconds}"], {"PATH": os.defpath})

    async def stop(self) -> None:
        await self.process.stop()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(supervision, "_BACK_OFF", BackOff(initial=0.01, maximum=0.02, jitter=0, steady=60))


async def test_a_killed_child_is_reported_and_restarted(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    child, runs_again = Sleeper(tmp_path), asyncio.Event()

    def report(name: str, text: str) -> None:
        said.append((name, text))
        if text == "runs again":
            runs_again.set()

    watched = Supervision(report)
    await watched.start("sleeper", child)
    watch = asyncio.create_task(watched.watch({"sleeper": child}))
    child.process.kill()
    await asyncio.wait_for(runs_again.wait(), 30)
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    assert child.process.running
    assert said[0][0] == "sleeper"
    assert "status -9" in said[0][1]
    await watched.stop("sleeper", child)
    assert not child.process.running


async def test_a_child_that_keeps_dying_ends_the_watch_with_its_log(tmp_path: Path) -> None:
    child = Sleeper(tmp_path, seconds=0)
    watched = Supervision(lambda name, text: None)
    await watched.start("sleeper", child)
    with pytest.raises(PartKeepsDying, match=r"(?s)sleeper ended with status 0.*started"):
        await asyncio.wait_for(watched.watch({"sleeper": child}), 60)
    assert child.starts == 9


async def test_a_child_that_was_stopped_by_name_stays_stopped(tmp_path: Path) -> None:
    child = Sleeper(tmp_path)
    watched = Supervision(lambda name, text: None)
    await watched.start("sleeper", child)
    watch = asyncio.create_task(watched.watch({"sleeper": child}))
    await watched.stop("sleeper", child)
    await asyncio.sleep(0.2)
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    assert not child.process.running
    assert child.starts == 1
