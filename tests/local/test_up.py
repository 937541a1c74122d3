"""`recstream up` runs everything on one machine, keeps it running, stops it in order, and leaves no processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
from recstream.client import Client, NotFound, Tier
from recstream.v1.item_pb2 import Item
from tests.models.tiny_bundle import DEFAULT_ITEMS

_LISTENERS = {
    "kafka": ("kafka", "kafka-controller"),
    "valkey": ("valkey",),
    "triton": ("triton", "triton-http", "triton-metrics"),
    "ingest": ("health",),
    "server": ("grpc", "health"),
}
_SECONDS = 90
_MARK = "STARTED_BY_THE_TEST_OF"  # ingest and the server inherit it, the others have the folder in their arguments


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that remembers free ports, because other stacks on this machine use the usual ones."""
    for part, names in _LISTENERS.items():
        folder = tmp_path / "data" / part
        folder.mkdir(parents=True)
        (folder / "ports.json").write_text(json.dumps({name: free_port() for name in names}))
    return tmp_path / "data"


@contextmanager
def up(data: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command in its own process. Its messages go to `data/said`."""
    with (data / "said").open("a") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--json", "--data", str(data), *arguments],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'protos'}",
                _MARK: str(data),
                **environment,
            },
            start_new_session=True,
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)
        if running.stdout is not None:
            running.stdout.close()


def addresses(running: subprocess.Popen[str], data: Path) -> dict[str, str]:
    """Returns the addresses that it prints once everything is ready."""
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line, (data / "said").read_text()
    found: dict[str, str] = json.loads(line)
    return found


def processes(folder: Path) -> dict[int, str]:
    """Returns processes whose command line, environment or working directory contains the folder, without the
    command."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            about = (
                command
                + (entry / "environ").read_bytes().decode(errors="replace")
                + str((entry / "cwd").readlink())
            )
        except OSError:
            continue
        if str(folder) in about and " up --json" not in command:
            found[int(entry.name)] = command
    return found


def wait_gone(folder: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while processes(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(folder) == {}


def wait_said(data: Path, text: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while text not in (data / "said").read_text():
        assert time.monotonic() < deadline, (data / "said").read_text()
        time.sleep(0.1)


@pytest.mark.drill
@pytest.mark.timeout(400)
def test_it_restarts_dead_parts_stops_in_order_and_keeps_data_and_ports(data: Path, bundle: Path) -> None:
    environment = {"RECSTREAM_BUNDLE": str(bundle)}
    with up(data, **environment) as running:
        first = addresses(running, data)
        assert list(first) == ["kafka", "valkey", "triton", "ingest", "server"]
        assert "created topics" in (data / "said").read_text()
        ingest = next(pid for pid, command in processes(data).items() if command.endswith("-m cli ingest "))
        os.kill(ingest, signal.SIGKILL)
        wait_said(data, "ingest ended with status -9")
        wait_said(data, "ingest runs again")
        running.send_signal(signal.SIGINT)
        assert running.wait(_SECONDS) == 0
    assert processes(data) == {}
    said = (data / "said").read_text()
    stops = [said.index(f"{name} stopping") for name in ("server", "ingest", "triton", "valkey", "kafka")]
    assert stops == sorted(stops)

    (data / "said").write_text("")
    with up(data, **environment) as running:
        assert addresses(running, data) == first
        assert "created topics" not in (data / "said").read_text()
        running.kill()
        running.wait(10)
        wait_gone(data)


async def go_all_the_way(server: str, items: Sequence[str]) -> None:
    """Sends items and an event through Kafka, ingest, Valkey and Triton into a list and onto an open stream."""
    async with Client(server) as client, asyncio.timeout(120):
        await client.put_items([Item(item_id=item_id, title=f"Title of {item_id}") for item_id in items])
        for item_id in items:
            while not await embedded(client, item_id):
                await asyncio.sleep(0.05)
        async with client.stream("ann", count=10) as lists:
            liked = (await anext(lists)).item_ids[0]
            token = await client.record("ann", liked, "like", event_id="e1")
            answer = await client.recommend("ann", count=10, after=[token], timeout=30)
            assert answer.includes_events and answer.tier is Tier.RANKED and answer.model_version == 1
            assert len(answer) == 10 and liked not in answer.item_ids
            async for each in lists:
                if "e1" in {cause.event_id for cause in each.causes}:
                    assert liked not in each.item_ids
                    break


async def embedded(client: Client, item_id: str) -> bool:
    try:
        return (await client.item(item_id)).embedded
    except NotFound:
        return False


def test_running_servers_are_used_and_an_event_reaches_an_open_stream(
    data: Path,
    bundle: Path,
    kafka: EmbeddedKafka,
    valkey: EmbeddedValkey,
    triton: EmbeddedTriton,
    prefix: str,
) -> None:
    given = ("--kafka", kafka.bootstrap, "--valkey", valkey.address, "--triton", triton.address)
    environment = {
        "RECSTREAM_BUNDLE": str(bundle),
        "RECSTREAM_KAFKA__TOPIC_PREFIX": prefix,
        "RECSTREAM_KAFKA__PARTITIONS": "1",
        "RECSTREAM_STORE__KEY_PREFIX": prefix,
        # The machine may be busy, so wait until the model answers.
        "RECSTREAM_RANKING__MODEL_TIMEOUT_MS": "20000",
    }
    with up(data, *given, **environment) as running:
        found = addresses(running, data)
        assert (found["kafka"], found["valkey"], found["triton"]) == (
            kafka.bootstrap,
            valkey.address,
            triton.address,
        )
        assert not (data / "kafka" / "data").exists()
        asyncio.run(go_all_the_way(found["server"], DEFAULT_ITEMS))
        running.terminate()
        assert running.wait(_SECONDS) == 0
    assert processes(data) == {}


def test_a_folder_has_one_stack_at_a_time(data: Path) -> None:
    import fcntl

    with (data / "lock").open("w") as lock:
        lock.write("12345")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with up(data) as running:
            assert running.wait(_SECONDS) == 1
    assert "12345" in (data / "said").read_text()
    assert "--data" in (data / "said").read_text()


def test_without_a_bundle_it_says_how_to_get_one_and_leaves_nothing_running(data: Path) -> None:
    with up(data, RECSTREAM_BUNDLE=str(data / "none")) as running:
        assert running.wait(_SECONDS) == 1
    assert "recstream train" in (data / "said").read_text()
    assert processes(data) == {}


def test_a_server_that_does_not_start_is_named_with_the_end_of_its_log(data: Path, bundle: Path) -> None:
    (data / "valkey" / "data" / "appendonlydir").mkdir(parents=True)
    (data / "valkey" / "data" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with up(data, RECSTREAM_BUNDLE=str(bundle)) as running:
        assert running.wait(_SECONDS) == 1
    said = (data / "said").read_text()
    assert "valkey did not start" in said
    assert "manifest" in said
    assert processes(data) == {}


@pytest.mark.parametrize("command", ["up", "serve", "ingest", "topics", "doctor"])
def test_serving_never_loads_training_code(command: str) -> None:
    program = f"""
import sys
import cli.app, cli.commands.{command}
print([name for name in ("torch", "transformers", "onnx", "onnxruntime", "pyarrow", "datasets") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ".:protos"},
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
