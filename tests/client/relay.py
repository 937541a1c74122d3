"""Passes bytes between clients and a server, and counts the open connections of the clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Relay:
    """A listener that connects each of its clients to a server.

    Attributes:
        server_port: the port of the server.
        port: the port for clients.
        opened: how many connections were opened.
        open: how many of them the client has not closed.
    """

    server_port: int
    port: int = 0
    opened: int = 0
    open: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def closed(self) -> None:
        """Waits until the clients have closed every connection."""
        async with asyncio.timeout(10):
            while self.open:
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves a connection until the client closes it."""
        self.opened += 1
        self.open += 1
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.server_port)
        answers = asyncio.create_task(_copy(from_server, writer))
        try:
            await _copy(reader, to_server)
        finally:
            self.open -= 1
            self._changed.set()
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def relaying(server_port: int) -> AsyncIterator[Relay]:
    """Yields a running relay to a server."""
    relay = Relay(server_port)
    listener = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = listener.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        listener.close()
