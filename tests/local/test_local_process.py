"""A child process ends with its parent, every wait for it is bounded, and a failure includes its log."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.errors import PortTaken, StartFailed
from local.servers.ports import choose, dial, free_port, is_free
from local.servers.process import Process

ENVIRONMENT = {"PATH": os.defpath}


async def never() -> bool:
    return False


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = f"""
import os, time
from pathlib import Path
from local.servers.process import Process
child = Process("sleeper", Path({str(tmp_path)!r}) / "log")
child.spawn(["sleep", "300"], {{"PATH": os.defpath}})
print(child.pid, flush=True)
time.sleep(300)
"""
    running = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert running.stdout is not None
    child = int(running.stdout.readline())
    os.kill(running.pid, signal.SIGKILL)
    running.wait(10)
    running.stdout.close()
    deadline = time.monotonic() + 10
    while (Path("/proc") / str(child)).exists() and _state(child) != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (Path("/proc") / str(child)).exists() or _state(child) == "Z"


def _state(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


async def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process("server", tmp_path / "log")
    process.spawn(["sh", "-c", "echo the disk is full; exit 3"], ENVIRONMENT)
    with pytest.raises(StartFailed, match=r"(?s)status 3.*the disk is full"):
        await process.ready(never, 20)


async def test_a_server_that_never_answers_is_killed(tmp_path: Path) -> None:
    process = Process("server", tmp_path / "log")
    process.spawn(["sleep", "300"], ENVIRONMENT)
    with pytest.raises(StartFailed, match="did not answer within"):
        await process.ready(never, 0.2)
    assert not process.running


async def test_a_cancelled_start_leaves_nothing_running(tmp_path: Path) -> None:
    process = Process("server", tmp_path / "log")
    process.spawn(["sleep", "300"], ENVIRONMENT)
    starting = asyncio.create_task(process.ready(never, 60))
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not process.running


async def test_stop_kills_a_process_that_ignores_sigterm(tmp_path: Path) -> None:
    process = Process("server", tmp_path / "log")
    process.spawn(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], ENVIRONMENT)

    async def up() -> bool:
        return "up" in process.tail()

    await process.ready(up, 20)
    await process.stop(0.3)
    assert process.exit_code == -signal.SIGKILL


def test_the_usual_port_is_chosen_if_it_is_free_and_remembered(tmp_path: Path) -> None:
    usual = free_port()
    assert choose(tmp_path, "server", usual) == usual
    assert choose(tmp_path, "server", free_port()) == usual


def test_another_port_is_chosen_if_the_usual_one_is_taken_and_kept_afterwards(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        usual = other.getsockname()[1]
        chosen = choose(tmp_path, "server", usual)
        assert chosen != usual
        assert is_free(chosen)
        with pytest.raises(PortTaken, match=str(usual)):
            choose(tmp_path, "server", None, asked=usual)
    assert choose(tmp_path, "server", usual) == chosen


def test_listeners_of_one_server_get_different_ports(tmp_path: Path) -> None:
    usual = free_port()
    assert choose(tmp_path, "one", usual) != choose(tmp_path, "two", usual)


def test_a_damaged_file_of_ports_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"server": "x", ')
    usual = free_port()
    assert choose(tmp_path, "server", usual) == usual


async def test_a_client_that_polls_a_server_does_not_take_its_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel may give the client the very port that it dials. TCP then connects it with itself."""
    port = free_port()

    class OfThatPort(socket.socket):
        def __init__(self, *kind: socket.AddressFamily | socket.SocketKind) -> None:
            super().__init__(*kind)
            self.bind(("127.0.0.1", port))

    with monkeypatch.context() as patched:
        patched.setattr("local.servers.ports.socket.socket", OfThatPort)
        with pytest.raises(ConnectionRefusedError, match="itself"):
            await dial("127.0.0.1", port)
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port):
        reader, writer = await dial("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
