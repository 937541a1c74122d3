"""Ports: the usual one if it is free, else another, and the same one after every restart."""

import asyncio
import errno
import json
import random
import socket
from pathlib import Path

from local.errors import PortTaken

# Below the range from which the kernel gives ports to outgoing connections (32768 and up): a client that
# keeps dialling a dead server's port there can be given that very port, connect to itself and hold it.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do; without it the last connections of a server that just ended count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A port that nobody listens on, outside the range of outgoing connections.

    Raises PortTaken when two hundred tries found none.
    """
    for _ in range(200):
        port = random.randrange(_FIRST, _LAST)
        if port not in avoid and is_free(port):
            return port
    raise PortTaken(f"found no free port between {_FIRST} and {_LAST} in 200 tries")


def choose(folder: Path, name: str, usual: int | None, asked: int | None = None) -> int:
    """Chooses a port: the one asked for, else the remembered one, else the usual one, else any free one.

    Args:
        folder: Data of the server. `ports.json` in it remembers the choice.
        name: Of the listener; a server may have several.
        usual: Taken if it is free and no other listener of the folder has it.
        asked: Must be free.

    Raises:
        PortTaken: The port asked for is taken, or none is free.
    """
    remembered = _read(folder)
    if asked is not None:
        if not is_free(asked):
            raise PortTaken(
                f"port {asked} for {name} is taken: end what listens there, or leave the choice to us"
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
    """The port that `choose` remembered for the listener `name` in `folder`; None where it remembered none."""
    return _read(folder).get(name)


async def dial(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to an IPv4 address where perhaps nobody listens yet. Raises OSError.

    The kernel can give a client the very port that it connects to, and TCP then connects it with itself. That counts as
    refused here. The socket is set to reuse its address, so the server that is about to listen can have the port at
    once, and not after the minute for which the kernel remembers the connection.
    """
    dialled = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        dialled.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dialled.setblocking(False)
        await asyncio.get_running_loop().sock_connect(dialled, (host, port))
        if dialled.getsockname() == dialled.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"only we ourselves are at {host}:{port}")
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
