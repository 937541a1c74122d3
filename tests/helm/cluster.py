"""One machine instead of a cluster: processes are started like the containers of the chart, for tests of the chart."""

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local.servers.process import Process
from local.service import http_get
from tests.helm.chart import ROOT, Object, containers, of, pod


class Cluster:
    """The rendered chart, a folder for its files, the local replacements of the cluster's names, and the values of its
    Secrets."""

    def __init__(
        self,
        objects: list[Object],
        folder: Path,
        names: Mapping[str, str],
        secrets: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self.objects = objects
        self.folder = folder
        self.secrets = secrets
        self._names = {"/models": str(folder / "models"), "/tmp": str(folder / "tmp"), **names}
        (folder / "tmp").mkdir()
        (folder / "models").mkdir()

    def here(self, text: str) -> str:
        """Returns the text with the local names and paths."""
        pattern = "|".join(map(re.escape, self._names))
        return re.sub(pattern, lambda found: self._names[found[0]], text)

    def environment(self, kind: str, component: str) -> dict[str, str]:
        """Returns the environment of the workload's containers, and writes the file of settings."""
        spec = pod(of(self.objects, kind, component))["spec"]
        found = {"PATH": os.environ["PATH"]}
        for variable in spec["containers"][0]["env"]:
            if "valueFrom" in variable:
                secret = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = self.secrets[secret["name"]][secret["key"]]
                continue
            value = variable["value"]
            if variable["name"] == "RECSTREAM_CONFIG":
                volume = next(each for each in spec["volumes"] if each["name"] == "settings")
                name = volume["configMap"]["name"]
                one = next(
                    each
                    for each in self.objects
                    if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
                )
                file = self.folder / f"{component}.yaml"
                file.write_text(self.here(one["data"][Path(value).name]))
                found[variable["name"]] = str(file)
            else:
                found[variable["name"]] = self.here(value)
        return found

    def command(self, container: Object) -> list[str]:
        """Returns the image's entry point with the container's arguments."""
        return [str(ROOT / "bin" / "recstream"), *map(self.here, container["args"])]

    def run(self, kind: str, component: str) -> None:
        """Runs a Job, its containers one after the other."""
        for container in containers(of(self.objects, kind, component)):
            done = subprocess.run(
                self.command(container), env=self.environment(kind, component), cwd=self.folder / "tmp",
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr

    def start(self, component: str) -> Process:
        """Starts a process of a Deployment, and waits for its probes: startup, then readiness and liveness."""
        container = pod(of(self.objects, "Deployment", component))["spec"]["containers"][0]
        process = Process(component, self.folder / f"{component}.log")
        process.spawn(self.command(container), self.environment("Deployment", component), self.folder / "tmp")
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            asyncio.run(process.ready(lambda name=name: probe(container[name], ports), 60))
        return process


async def probe(given: Mapping[str, Any], ports: Mapping[str, int], host: str = "127.0.0.1") -> bool:
    """Runs a probe like the kubelet."""
    if "grpc" in given:
        alone = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"{host}:{given['grpc']['port']}", alone) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=2
                )
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    status, _ = await http_get(host, ports[given["httpGet"]["port"]], given["httpGet"]["path"])
    return status == 200
