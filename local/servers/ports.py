"""Chooses ports: the usual one if it is free, or else another. A restart keeps the port."""

import asyncio
import errno
import json
import random
import socket
from pathlib import Path

from local.errors import PortTaken

# These are below the range from which the kernel takes ports for outgoing connections (32768 and up). A client that
# keeps dialling a dead server's port in that range can get this port itself, connect to itself, and hold the port.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set it, too. Without it the old connections of a server that has just ended block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """Returns a free port outside the range of outgoing connections. Raises PortTaken if 200 tries find none."""
    for _ in range(200):
        port = random.randrange(_FIRST, _LAST)
        if port not in avoid and is_free(port):
            return port
    raise PortTaken(f"found no free port between {_FIRST} and {_LAST} in 200 tries")


def choose(folder: Path, name: str, usual: int | None, asked: int | None = None) -> int:
    """Chooses a port: the requested one, or else the remembered one, the usual one, or any free one.

    Args:
        folder: The server's folder. `ports.json` in it remembers the choice.
        name: The name of the listener. A server may have several.
        usual: The usual port. It is chosen if it is free and no other listener of the folder has it.
        asked: The requested port. It must be free.

    Raises:
        PortTaken: The requested port is taken, or none is free.
    """
    remembered = _read(folder)
    if asked is not None:
        if not is_free(asked):
            raise PortTaken(
                f"port {asked} for {name} is taken: end the process that listens there, or request no port"
            )
        port = asked
    else:
        others = frozenset(value for key, value in remembered.items() if key != name)
        candidates = [port for port in (remembered.get(name), usual) if port and port not in others]
        port = next((port for port in candidates if is_free(port)), 0) or free_port(others)
    if remembered.get(name) != port:
        remembered[name] = port
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / "ports.json.new"
        written.write_text(json.dumps(remembered))
        written.replace(folder / "ports.json")
    return port


def remembered_port(folder: Path, name: str) -> int | None:
    """Returns the port that `choose` remembered for the listener `name` in `folder`. None if there is none."""
    return _read(folder).get(name)


async def dial(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to an IPv4 address where the server may not listen yet. Raises OSError.

    The kernel can give a client the very port that it connects to. TCP then connects the client with itself, which this
    function treats as refused. The socket reuses its address, so that the server can take the port at once. Otherwise
    the kernel would block the port for a minute.
    """
    dialled = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        dialled.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dialled.setblocking(False)
        await asyncio.get_running_loop().sock_connect(dialled, (host, port))
        if dialled.getsockname() == dialled.getpeername():
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"the client connected to itself at {host}:{port}"
            )
        return await asyncio.open_connection(sock=dialled)
    except BaseException:
        dialled.close()
        raise


def _read(folder: Path) -> dict[str, int]:
    try:
        ports = json.loads((folder / "ports.json").read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(ports, dict):
        return {}
    return {str(name): port for name, port in ports.items() if isinstance(port, int) and 0 < port < 65536}
