"""Serves /livez, /readyz and /metrics over the part of HTTP/1.1 that probes and scrapers use."""

import asyncio
import contextlib
import json
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from telemetry.health import Health

_REQUEST_SECONDS: Final = 5.0
_REQUEST_BYTES: Final = 8192
_PHRASES: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_TEXT: Final = "text/plain; charset=utf-8"


class ProbeServer:
    """Answers GET and HEAD, one request per connection.

    /livez is 200 while the event loop runs. /readyz is 200, or 503 with the reason of each component that is not ready:
    `{"ready": false, "not_ready": {"catalog": "is being read"}}`. /metrics is for Prometheus.

    Args:
        health: The state that /readyz returns.
        host: The address to listen on.
        port: The port to listen on; 0: any free one.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on, once it is started."""
        return self._port

    async def start(self) -> None:
        """Starts to listen.

        Raises:
            OSError: The address is not available, or the port is taken.
        """
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_REQUEST_BYTES)
        self._port = int(self._server.sockets[0].getsockname()[1])

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
            pass  # the probe disconnected
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: list[bytes]) -> bytes:
        if len(request) != 3 or request[0] not in (b"GET", b"HEAD"):
            return _response(405, b"GET or HEAD\n", with_body=True)
        with_body = request[0] == b"GET"
        match request[1].split(b"?", 1)[0]:
            case b"/livez":
                return _response(200, b"alive\n", with_body=with_body)
            case b"/readyz":
                state = {"ready": self._health.ready, "not_ready": dict(self._health.not_ready)}
                body = json.dumps(state).encode() + b"\n"
                status = 200 if self._health.ready else 503
                return _response(status, body, "application/json", with_body=with_body)
            case b"/metrics":
                return _response(200, generate_latest(), CONTENT_TYPE_LATEST, with_body=with_body)
            case _:
                return _response(404, b"/livez, /readyz or /metrics\n", with_body=with_body)


def _response(status: int, body: bytes, content_type: str = _TEXT, *, with_body: bool) -> bytes:
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + (body if with_body else b"")
