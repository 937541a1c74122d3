"""/livez, /readyz and /metrics over HTTP/1.1, as much of it as probes and scrapers speak."""

import asyncio
import contextlib
import json

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingest.health import Health

log = structlog.get_logger()

_REQUEST_SECONDS = 5.0
_REQUEST_LIMIT = 8192


class HealthServer:
    """Answers GET and HEAD, one request a connection.

    /livez is 200 while the event loop turns. /readyz is 200 or 503 with what is lacking, as JSON.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_REQUEST_LIMIT)
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].split(b" ")
                writer.write(self._answer(request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: list[bytes]) -> bytes:
        if len(request) != 3 or request[0] not in (b"GET", b"HEAD"):
            return _response(405, b"GET or HEAD\n", with_body=True)
        body_too = request[0] == b"GET"
        match request[1].split(b"?", 1)[0]:
            case b"/livez":
                return _response(200, b"alive\n", with_body=body_too)
            case b"/readyz":
                lacks = self._health.lacks
                text = json.dumps({"ready": not lacks, "lacks": lacks}).encode() + b"\n"
                return _response(503 if lacks else 200, text, "application/json", with_body=body_too)
            case b"/metrics":
                return _response(200, generate_latest(), CONTENT_TYPE_LATEST, with_body=body_too)
            case _:
                return _response(404, b"/livez, /readyz or /metrics\n", with_body=body_too)


_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _response(status: int, body: bytes, kind: str = "text/plain; charset=utf-8", *, with_body: bool) -> bytes:
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + (body if with_body else b"")
