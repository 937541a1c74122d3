"""A name server on loopback instead of a cluster's: a headless Service resolves to each of its ready pods."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_ADDRESS = 1  # The type of an A record.
_ANSWER = 0x8580  # A response, authoritative, with recursion desired and available.


class HeadlessService(asyncio.DatagramProtocol):
    """Answers every name with the current addresses in `ready` (RFC 1035)."""

    def __init__(self) -> None:
        self.ready: list[str] = []

    @classmethod
    @asynccontextmanager
    async def listening(cls, port: int) -> "AsyncIterator[HeadlessService]":
        """Listens on a port of 127.0.0.1 inside the block."""
        loop = asyncio.get_running_loop()
        transport, service = await loop.create_datagram_endpoint(cls, ("127.0.0.1", port))
        try:
            yield service
        finally:
            transport.close()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        (query,) = struct.unpack_from("!H", data)
        end = 12
        while data[end]:
            end += data[end] + 1
        (kind,) = struct.unpack_from("!H", data, end + 1)
        hosts = self.ready if kind == _ADDRESS else []
        head = struct.pack("!6H", query, _ANSWER, 1, len(hosts), 0, 0)
        # The name of each record is that of the question, which begins at byte 12. Class IN, five seconds to live.
        records = (struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(host) for host in hosts)
        self._transport.sendto(head + data[12 : end + 5] + b"".join(records), sender)
