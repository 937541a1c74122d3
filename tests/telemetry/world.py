"""A Prometheus server that scrapes a running system, and queries to it."""

import asyncio
import json
import os
import shutil
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local.servers.ports import free_port
from local.servers.process import Process
from local.service import http_get

_PLACES = os.pathsep.join([os.environ.get("PATH", ""), str(Path(__file__).parents[2] / ".cache" / "bin")])
PROMETHEUS, PROMTOOL = (shutil.which(tool, path=_PLACES) or "" for tool in ("prometheus", "promtool"))
needs_prometheus = pytest.mark.skipif(
    not (PROMETHEUS and PROMTOOL), reason="prometheus and promtool are not there: make prometheus"
)

_CONFIGURATION = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
"""


class Prometheus:
    """Scrapes `targets`, host:port by job, each second, and evaluates the rules."""

    def __init__(self, folder: Path, targets: Mapping[str, str], rules: Path) -> None:
        self.port = free_port()
        self.process = Process("prometheus", folder / "prometheus.log")
        self._folder = folder
        text = _CONFIGURATION.format(rules=json.dumps(str(rules)))
        for job, target in targets.items():
            text += f"  - job_name: {job}\n    static_configs: [{{ targets: ['{target}'] }}]\n"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yaml").write_text(text)

    async def start(self) -> None:
        command = [
            PROMETHEUS,
            f"--config.file={self._folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.process.spawn(command, {})
        await self.process.ready(self._ready, 30)

    async def stop(self) -> None:
        await self.process.stop(10.0)

    async def ask(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Returns the result of an instant query: labels and values. Fails if Prometheus refuses the query."""
        answer = await self._get(f"/api/v1/query?query={urllib.parse.quote(expr)}")
        assert answer["status"] == "success", (expr, answer)
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    async def series(self, job: str) -> list[dict[str, str]]:
        """Returns the labels of all series of a job, including `__name__`."""
        match = urllib.parse.quote(f'{{job="{job}"}}')
        answer: list[dict[str, str]] = (await self._get(f"/api/v1/series?match[]={match}"))["data"]
        return answer

    async def rules(self) -> list[dict[str, str]]:
        """Returns the loaded alerts with their health."""
        groups = (await self._get("/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def types(self, job: str) -> dict[str, str]:
        """Returns the types of metrics that the targets of a job report."""
        match = urllib.parse.quote(f'{{job="{job}"}}')
        found = (await self._get(f"/api/v1/targets/metadata?match_target={match}"))["data"]
        return {one["metric"]: one["type"] for one in found}

    async def _get(self, path: str) -> dict:  # type: ignore[type-arg]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n".encode())
            body = (await reader.read()).split(b"\r\n\r\n", 1)[1]
        finally:
            writer.close()
        answer: dict = json.loads(body)  # type: ignore[type-arg]
        return answer

    async def _ready(self) -> bool:
        return (await http_get("127.0.0.1", self.port, "/-/ready"))[0] == 200


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str], rules: Path) -> AsyncIterator[Prometheus]:
    """Yields a started Prometheus, and stops it afterwards."""
    server = Prometheus(folder, targets, rules)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
