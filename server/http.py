"""/livez, /readyz and /metrics over HTTP/1.1, as much of it as probes and scrapers speak."""

import asyncio
import contextlib
import json

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from server.health import Health

_REQUEST_SECONDS = 5.0
_REQUEST_LIMIT = 8192
_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class HttpServer:
    """Answers GET and HEAD, one request a connection.

    /livez is 200 while the event loop turns, and depends on nothing else. /readyz is 200, or 503 with what is
    lacking, as JSON.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._server: asyncio.Server | None = None
        self.port = port

    async def start(self) -> None:
        """Listens; `port` then is the one taken. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=_REQUEST_LIMIT)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].split(b" ")
                writer.write(self._answer(request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a probe that went away
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: list[bytes]) -> bytes:
        if len(request) != 3 or request[0] not in (b"GET", b"HEAD"):
            return _response(405, b"GET or HEAD\n", "text/plain", whole=True)
        whole = request[0] == b"GET"
        path = request[1].split(b"?", 1)[0]
        if path == b"/livez":
            return _response(200, b"alive\n", "text/plain", whole=whole)
        if path == b"/readyz":
            lacks = self._health.lacks
            body = json.dumps({"ready": not lacks, "lacks": lacks}).encode() + b"\n"
            return _response(503 if lacks else 200, body, "application/json", whole=whole)
        if path == b"/metrics":
            return _response(200, generate_latest(), CONTENT_TYPE_LATEST, whole=whole)
        return _response(404, b"/livez, /readyz or /metrics\n", "text/plain", whole=whole)


def _response(status: int, body: bytes, kind: str, *, whole: bool) -> bytes:
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + (body if whole else b"")
