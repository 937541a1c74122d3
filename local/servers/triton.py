"""tritonserver from its wheel, with the python backend."""

import asyncio
import hashlib
import json
import os
from http.client import HTTPConnection
from pathlib import Path

from local.errors import LoadRefused
from local.servers.ports import choose, dial
from local.servers.process import Process
from local.servers.python_runtime import PythonRuntime, python_runtime, triton_environment

_BACKEND_FILES = ("libtriton_python.so", "triton_python_backend_utils.py")


class EmbeddedTriton:
    """tritonserver on loopback.

    It loads models at the start and by `load`. It does not watch the repository, so it never reads a half-written
    version. Four lines about CUDA in its log only mean that there is no GPU.

    Args:
        repository: The model repository.
        folder: Its log and ports.
        port: The gRPC port. None: the usual or any free one.
        environment: Its virtual environment. None: `triton_environment()`.
    """

    def __init__(
        self, repository: Path, folder: Path, port: int | None = None, environment: Path | None = None
    ) -> None:
        self.repository = repository
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = 0
        self.http_port = 0
        self.metrics_port = 0
        self._asked = port
        self._environment = environment or triton_environment()
        # Its processes share memory in /dev/shm. The name is derived from the folder, so that files that are left after
        # a kill can be found.
        self.shared_memory = f"recstream_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"
        self.process = Process("triton", folder / "triton.log")

    @property
    def address(self) -> str:
        """host:port of the gRPC endpoint."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.process.log

    async def start(self, seconds: float = 120.0) -> None:
        """Starts the server and waits until every model of the repository is ready.

        Raises StartFailed (with the end of Triton's log), PortTaken, NotInstalled.
        """
        runtime = await asyncio.to_thread(python_runtime, self._environment)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.repository.mkdir(parents=True, exist_ok=True)
        # After a restart clients expect the same port.
        self.port = choose(self.folder, "triton", 8001, self._asked or self.port or None)
        self.http_port = choose(
            self.folder, "triton-http", None if self._asked else 8000, self.http_port or None
        )
        self.metrics_port = choose(
            self.folder, "triton-metrics", None if self._asked else 8002, self.metrics_port or None
        )
        server = runtime.site_packages / "pytriton" / "tritonserver"
        self._clean()
        backends = _link_backend(self.folder.resolve(), server, runtime)
        models = sorted(path.parent.name for path in self.repository.glob("*/config.pbtxt"))
        command = [
            str(server / "bin" / "tritonserver"),
            f"--model-repository={self.repository.resolve()}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={self.shared_memory}",
            f"--cache-directory={server / 'caches'}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in models),
            *(f"--{name}-port={port}" for name, port in self._ports().items()),
            *(f"--{name}-address={self.host}" for name in self._ports()),
            "--allow-cpu-metrics=false",
        ]
        libraries = [runtime.site_packages / "nvidia_pytriton.libs", runtime.library]
        environment = {
            # The embedded interpreter takes the prefix of the first python3 on PATH, which has to be the venv's.
            "PATH": f"{runtime.environment.absolute() / 'bin'}:{os.defpath}",
            "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries if path),
        }
        self.process.spawn(command, environment, self.folder)
        await self.process.ready(self._serves, seconds)

    async def stop(self) -> None:
        """Stops the server, which takes one to four seconds."""
        await self.process.stop(20.0)
        self._clean()

    def kill(self) -> None:
        """Sends SIGKILL to the server and its model processes."""
        self.process.kill()
        self._clean()

    async def restart(self) -> None:
        """Stops and starts the server, on the same ports."""
        await self.stop()
        await self.start()

    async def load(self, model: str) -> None:
        """Loads what the repository now holds of `model`. The old version is served until the new one is ready.

        Raises LoadRefused with Triton's message. The old version is still served then.
        """
        status, said = await asyncio.to_thread(self._post, f"/v2/repository/models/{model}/load")
        if status != 200:
            raise LoadRefused(f"Triton did not load {model}: {said}")

    def _ports(self) -> dict[str, int]:
        return {"grpc": self.port, "http": self.http_port, "metrics": self.metrics_port}

    def _post(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection(self.host, self.http_port, timeout=120)
        try:
            connection.request("POST", path, body="{}")
            response = connection.getresponse()
            said = response.read().decode(errors="replace")
        finally:
            connection.close()
        try:
            return response.status, str(json.loads(said)["error"])
        except (ValueError, KeyError, TypeError):
            return response.status, said

    async def _serves(self) -> bool:
        reader, writer = await dial(self.host, self.http_port)
        try:
            writer.write(b"GET /v2/health/ready HTTP/1.1\r\nHost: triton\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        finally:
            writer.close()

    def _clean(self) -> None:
        # Only this server uses the name, and files are removed unread.
        for left in Path("/dev/shm").glob(f"{self.shared_memory}*"):  # noqa: S108
            left.unlink(missing_ok=True)


def _link_backend(folder: Path, server: Path, runtime: PythonRuntime) -> Path:
    """Creates the backend directory: links into the wheel, with the stub for this interpreter's version."""
    python = folder / "backends" / "python"
    python.mkdir(parents=True, exist_ok=True)
    stub = server / "python_backend_stubs" / runtime.version / "triton_python_backend_stub"
    for target in [*(server / "backends" / "python" / name for name in _BACKEND_FILES), stub]:
        link = python / target.name
        link.unlink(missing_ok=True)
        link.symlink_to(target.absolute())
    return folder / "backends"
