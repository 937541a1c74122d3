"""The programs run with the arguments, environment, files and probes of the chart's containers.

Paths and names that only a cluster has are replaced by a folder and loopback. The rest is as rendered.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from local.servers.jars import kafka_jars
from local.servers.kafka import EmbeddedKafka, java_runtime
from local.servers.ports import free_port
from local.servers.process import Process
from local.servers.python_runtime import PythonRuntime, python_runtime, triton_environment
from local.servers.triton import _link_backend
from local.servers.valkey import EmbeddedValkey, command, valkey_server
from tests.helm.chart import of, pod, rendered
from tests.helm.cluster import Cluster, probe

pytestmark = [pytest.mark.drill, pytest.mark.timeout(240)]
PREFIX = "helm-drill."


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    found: dict[str, int] = {}
    for name in ("grpc", "http", "ingest", "catalogue", "quality", "triton", "triton-http", "triton-metrics"):
        found[name] = free_port(frozenset(found.values()))
    return found


@pytest.fixture(scope="module")
def cluster(
    kafka: EmbeddedKafka,
    valkey: EmbeddedValkey,
    bundle: Path,
    ports: dict[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cluster:
    triton = {"grpc": ports["triton"], "http": ports["triton-http"], "metrics": ports["triton-metrics"]}
    values = {
        "kafka": {
            "bootstrap": kafka.bootstrap,
            "topicPrefix": PREFIX,
            "partitions": 3,
            "bundled": {"enabled": False},
        },
        "valkey": {"addresses": [valkey.address], "bundled": {"enabled": False}},
        "config": {"store": {"key_prefix": PREFIX}},
        "server": {"replicas": 1, "ports": {"grpc": ports["grpc"], "http": ports["http"]}, "drainSeconds": 3},
        "ingest": {"ports": {"http": ports["ingest"]}},
        "catalogue": {"ports": {"http": ports["catalogue"]}},
        "quality": {"ports": {"http": ports["quality"]}},
        "triton": {"ports": triton},
        "jobs": {"publish": {"enabled": True}},
    }
    folder = tmp_path_factory.mktemp("cluster")
    runtime = python_runtime(triton_environment())
    server = runtime.site_packages / "pytriton" / "tritonserver"
    names = {
        "rel-recstream-triton.shop.svc.cluster.local": "127.0.0.1",
        "/opt/triton/backends": str(_link_backend(folder, server, runtime)),
        "/opt/triton/server": str(server),
    }
    found = Cluster(rendered(values=values), folder, names)
    shutil.copytree(bundle, folder / "models" / "training" / "bundle")
    return found


@pytest.fixture
def triton(cluster: Cluster) -> Iterator[Process]:
    """Triton on an empty repository, with the folders that the init container creates."""
    process = Process("triton", cluster.folder / "triton.log")
    first = pod(of(cluster.objects, "StatefulSet", "triton"))["spec"]["initContainers"][0]
    subprocess.run([cluster.here(word) for word in first["command"]], check=True, timeout=10)
    start_triton(cluster, process)
    yield process
    process.kill()


def start_triton(cluster: Cluster, process: Process, arguments: list[str] | None = None) -> None:
    container = pod(of(cluster.objects, "StatefulSet", "triton"))["spec"]["containers"][0]
    runtime: PythonRuntime = python_runtime(triton_environment())
    libraries = [runtime.site_packages / "nvidia_pytriton.libs", runtime.library]
    # Variables that the image sets.
    environment = {
        "PATH": f"{runtime.environment.absolute() / 'bin'}:{os.defpath}",
        "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries if path),
    }
    program = cluster.here("/opt/triton/server/bin/tritonserver")
    process.spawn([program, *map(cluster.here, arguments or container["args"])], environment, cluster.folder)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    for name in ("startupProbe", "livenessProbe"):
        asyncio.run(process.ready(lambda name=name: probe(container[name], ports), 60))


def test_the_processes_of_the_chart_become_ready_serve_and_drain(
    cluster: Cluster, triton: Process, ports: dict[str, int]
) -> None:
    cluster.run("Job", "topics")
    cluster.run("Job", "topics")  # As after an upgrade.
    started = {name: cluster.start(name) for name in ("ingest", "catalogue", "quality", "server")}
    try:
        cluster.run("Job", "publish")
        cluster.run("Job", "publish")
        assert shares(ports["http"], "server") == shares(ports["quality"], "ingest") == [1.0]
        # Only the process with the role measures, and it is ready.
        measuring = [
            name for name in ("ingest", "catalogue", "quality") if metric_values(ports[name], "quality")
        ]
        assert measuring == ["quality"] and metric_values(ports["quality"], "quality") == ["1.0"]
        # A process that restarts has the published version.
        asyncio.run(triton.stop(20))
        start_triton(cluster, triton)
        index = asyncio.run(posted(ports["triton-http"], "/v2/repository/index"))
        assert index.count('"state":"READY"') == 4, index
        drain = yaml.safe_load((cluster.folder / "server.yaml").read_text())["server"]["drain_seconds"]
        for name, process in started.items():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGTERM)
            grace = pod(of(cluster.objects, "Deployment", name))["spec"]["terminationGracePeriodSeconds"]
            assert asyncio.run(process.wait(grace)) == 0, process.tail()
        assert drain == 3
        assert not list((cluster.folder / "tmp").iterdir())
    finally:
        for process in started.values():
            process.kill()


def test_a_triton_that_watches_its_repository_finds_a_version(
    cluster: Cluster, ports: dict[str, int]
) -> None:
    """As on GPUs. The Python backend replaces the others, which the wheel does not have."""
    numbers = {"grpc": ports["triton"], "http": ports["triton-http"], "metrics": ports["triton-metrics"]}
    triton = {"backend": "onnxruntime", "ports": numbers, "pollSeconds": 1}
    found = rendered(values={"triton": triton, "jobs": {"publish": {"enabled": True}}})
    arguments = pod(of(found, "StatefulSet", "triton"))["spec"]["containers"][0]["args"]
    assert arguments[0] == "tritonserver"
    writing = pod(of(found, "Job", "publish"))["spec"]["initContainers"][0]["args"]
    others = {"/models/repository": "/models/watched", "onnxruntime": "python"}
    process = Process("watching", cluster.folder / "watching.log")
    (cluster.folder / "models" / "watched").mkdir()
    start_triton(
        cluster,
        process,
        [
            *(word.replace("/models/repository", "/models/watched") for word in arguments[1:]),
            "--backend-directory=/opt/triton/backends",
        ],
    )
    try:
        write = cluster.command({"args": [others.get(word, word) for word in writing]})
        subprocess.run(write, check=True, timeout=60, capture_output=True)

        async def loaded() -> bool:
            index = await posted(ports["triton-http"], "/v2/repository/index")
            return index.count('"state":"READY"') == 4

        asyncio.run(process.ready(loaded, 60))
    finally:
        process.kill()


def shares(port: int, room: str) -> list[float]:
    """Returns the share of users of each model version."""
    found = re.findall(rf"^recstream_{room}_model_share{{.*}} (\S+)$", figures(port), re.M)
    return [float(each) for each in found]


def metric_values(port: int, component: str) -> list[str]:
    """Returns an ingest process's readiness of a component: 1.0 if it is ready, None if it has no such component."""
    return re.findall(rf'^recstream_ingest_ready{{component="{component}"}} (\S+)$', figures(port), re.M)


def figures(port: int) -> str:
    """Returns all of /metrics, which is long."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def posted(port: int, path: str) -> str:
    """Returns the answer to an empty POST."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: triton\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    writer.write(head.encode())
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    return answer


def test_the_bundled_valkey_evicts_nothing(tmp_path: Path) -> None:
    container = pod(of(rendered(), "StatefulSet", "valkey"))["spec"]["containers"][0]
    port = free_port()
    process = Process("valkey", tmp_path / "valkey.log")
    arguments = [str(tmp_path) if word == "/data" else word for word in container["args"]]
    process.spawn([str(valkey_server()), *arguments, "--port", str(port)], {"PATH": os.defpath})

    async def answers() -> bool:
        return await command("127.0.0.1", port, "PING") == b"PONG"

    try:
        asyncio.run(process.ready(answers, 30))
        info = asyncio.run(command("127.0.0.1", port, "INFO", "memory")).decode()
        assert "maxmemory_policy:noeviction" in info and "maxmemory:419430400" in info
    finally:
        process.kill()


def test_the_bundled_kafka_starts_from_its_properties(tmp_path: Path) -> None:
    found = rendered()
    container = pod(of(found, "StatefulSet", "kafka"))["spec"]["containers"][0]
    text = next(
        each["data"]["server.properties"]
        for each in found
        if each["kind"] == "ConfigMap" and "server.properties" in each["data"]
    )
    broker, controller = free_port(), free_port()
    host = "rel-recstream-kafka.shop.svc.cluster.local"
    text = text.replace(host, "127.0.0.1").replace("/data/log", str(tmp_path / "log"))
    text = text.replace("9092", str(broker)).replace("9093", str(controller))
    properties = tmp_path / "server.properties"
    properties.write_text(text)
    options = re.search(r"format (.*) -c ", container["command"][2])
    assert options is not None
    java = [str(java_runtime()), "-Xmx256m", "-cp", f"{asyncio.run(kafka_jars())}/*"]
    for _ in range(2):  # As after a restart.
        done = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", *options[1].split(), "-c", str(properties)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    process = Process("kafka", tmp_path / "kafka.log")
    process.spawn([*java, "kafka.Kafka", str(properties)], {"PATH": os.defpath})
    started = EmbeddedKafka(tmp_path, broker)
    started.port = broker
    try:
        asyncio.run(process.ready(started._serves, 60))
    finally:
        process.kill()
