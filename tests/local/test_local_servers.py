"""The embedded servers are real, keep data and ports across stop and kill, and leave no processes behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from local.errors import LocalError, StartFailed
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
from local.servers.valkey_cluster import EmbeddedValkeyCluster

_CONFIG = """
backend: "python"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
_MODEL = """
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        x = [pb.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        return [pb.InferenceResponse([pb.Tensor("y", value * 2)]) for value in x]
"""


def _model(repository: Path, name: str, source: str = _MODEL) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\n{_CONFIG}')
    (version / "model.py").write_text(source)


async def test_valkey_keeps_acknowledged_writes_and_its_port_across_a_kill(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", free_port())
    await server.start()
    try:
        address = server.address
        await server.command("SET", "key", "value")
        server.kill()
        await server.start()
        assert server.address == address
        assert await server.command("GET", "key") == b"value"
    finally:
        await server.stop()
    assert server.process.exit_code == 0


async def test_valkey_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", free_port(), ["--maxmemory", "nonsense"])
    with pytest.raises(StartFailed, match="maxmemory"):
        await server.start()


async def test_a_valkey_cluster_serves_every_slot_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    cluster = EmbeddedValkeyCluster(tmp_path / "cluster")
    await cluster.start()
    try:
        addresses = cluster.addresses
        assert len(set(addresses)) == 3
        cluster.kill()
        await cluster.start()
        assert cluster.addresses == addresses
        assert b"cluster_slots_ok:16384" in await cluster.nodes[2].command("CLUSTER", "INFO")
    finally:
        cluster.kill()


@pytest.mark.drill
async def test_kafka_keeps_records_and_its_port_across_a_kill(tmp_path: Path) -> None:
    server = EmbeddedKafka(tmp_path / "kafka", free_port())
    await server.start()
    try:
        address = server.bootstrap
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic("events", 2, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
            await producer.send_and_wait("events", b"one", partition=1)
        server.kill()
        await server.start()
        assert server.bootstrap == address
        async with AIOKafkaConsumer(
            "events", bootstrap_servers=address, auto_offset_reset="earliest"
        ) as consumer:
            record = await asyncio.wait_for(consumer.getone(), 60)
        assert (record.value, record.partition) == (b"one", 1)
    finally:
        server.kill()


async def test_triton_serves_and_loads_later_models_and_leaves_no_shared_memory(tmp_path: Path) -> None:
    _model(tmp_path / "models", "double")
    server = EmbeddedTriton(tmp_path / "models", tmp_path / "triton", free_port())
    await server.start()
    try:
        from tritonclient.grpc.aio import InferenceServerClient

        async with InferenceServerClient(server.address) as client:
            assert await client.is_model_ready("double")
            _model(tmp_path / "models", "later")
            await server.load("later")
            assert await client.is_model_ready("later")
        _model(tmp_path / "models", "broken", "import no_such_module_at_all")
        with pytest.raises(LocalError, match="no_such_module_at_all"):
            await server.load("broken")
    finally:
        server.kill()
    ours = {name for name in os.listdir("/dev/shm") if name.startswith(server.shared_memory)}
    assert not ours


async def test_triton_that_cannot_load_a_model_says_why(tmp_path: Path) -> None:
    _model(tmp_path / "models", "broken", "import no_such_module_at_all")
    server = EmbeddedTriton(tmp_path / "models", tmp_path / "triton", free_port())
    with pytest.raises(StartFailed, match="no_such_module_at_all"):
        await server.start()


@pytest.mark.drill
def test_no_server_survives_a_killed_parent(tmp_path: Path) -> None:
    _model(tmp_path / "models", "double")
    parent = f"""
import asyncio, time
from pathlib import Path
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
folder = Path({str(tmp_path)!r})
async def main():
    await EmbeddedValkey(folder / "valkey", free_port()).start()
    await EmbeddedKafka(folder / "kafka", free_port()).start()
    await EmbeddedTriton(folder / "models", folder / "triton", free_port()).start()
    print("up", flush=True)
    time.sleep(300)
asyncio.run(main())
"""
    running = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    servers = _mentioning(str(tmp_path))
    # valkey-server, java, tritonserver and the process of Triton's model.
    assert len(servers) >= 4, servers
    os.kill(running.pid, signal.SIGKILL)
    running.wait(10)
    running.stdout.close()
    deadline = time.monotonic() + 60
    while _mentioning(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _mentioning(str(tmp_path))


def _mentioning(folder: str) -> dict[int, str]:
    """Returns processes, other than a `python -c`, whose command line or working directory contains the folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            place = str((entry / "cwd").readlink())
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in command + place and " -c " not in command:
            found[int(entry.name)] = command
    return found
