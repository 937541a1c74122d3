"""Ingest or the server as a child process."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.errors import StartFailed
from local.servers.ports import dial
from local.servers.process import Process

_ROOT = Path(__file__).resolve().parent.parent
_ANSWER_BYTES = 65_536


class Service:
    """`python -m cli COMMAND` as a child process. It is ready when its /readyz answers 200.

    Attributes:
        address: host:port for clients.
        health_port: Port of /readyz, on loopback.
        process: The child process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        settings: Mapping[str, str],
        folder: Path,
        address: str,
        health_port: int,
    ) -> None:
        """Starts nothing yet.

        Args:
            name: Name of the process and of its log file.
            command: Arguments of `python -m cli`.
            settings: Environment variables of its settings.
            folder: The folder of its log.
            address: host:port for clients.
            health_port: Port of /readyz, on loopback.
        """
        self.address = address
        self.health_port = health_port
        self.process = Process(name, folder / f"{name}.log")
        self._command = tuple(command)
        self._settings = dict(settings)
        self._lacks = ""

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.process.log

    async def start(self, seconds: float = 120.0) -> None:
        """Starts the process and waits until it is ready. Raises StartFailed, with what /readyz says is missing."""
        paths = [str(_ROOT), str(_ROOT / "protos"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            "OPENBLAS_NUM_THREADS": "1",  # matrix products of a few thousand rows are slower on several threads
            **os.environ,
            **self._settings,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
        }
        self._lacks = ""
        self.process.spawn([sys.executable, "-m", "cli", *self._command], environment)
        try:
            await self.process.ready(self._ready, seconds)
        except StartFailed as error:
            if self._lacks:
                raise StartFailed(f"{error}\nwhat was not ready: {self._lacks}") from error
            raise

    async def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL if the process has not drained within 30 seconds."""
        await self.process.stop(30.0)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.kill()

    async def _ready(self) -> bool:
        status, said = await http_get("127.0.0.1", self.health_port, "/readyz")
        self._lacks = "" if status == 200 else said.strip()[:2000]
        return status == 200


async def http_get(host: str, port: int, path: str) -> tuple[int, str]:
    """Sends a GET. Returns the status and the first 64 KiB of the body. The caller has to set a deadline. Raises
    OSError, EOFError."""
    reader, writer = await dial(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).split()
        if len(head) < 2 or not head[1].isdigit():
            raise ConnectionError(f"{host}:{port} does not speak HTTP")
        try:
            body = await reader.readexactly(_ANSWER_BYTES)
        except asyncio.IncompleteReadError as error:
            body = error.partial  # the whole body
        return int(head[1]), body.decode(errors="replace")
    except asyncio.LimitOverrunError as error:
        raise ConnectionError(f"{host}:{port} does not speak HTTP") from error
    finally:
        writer.close()


def lacks(said: str) -> str:
    """Returns the reasons in a /readyz answer as one line. An answer of another form is returned as it is."""
    try:
        parts = json.loads(said)["not_ready"]
        return "; ".join(f"{name}: {reason}" for name, reason in parts.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return said.strip()
