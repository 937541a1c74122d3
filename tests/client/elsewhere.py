"""A scripted server on an event loop in a thread, for clients that block or have an event loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.client.relay import Relay, relaying
from tests.client.scripted_server import (
    RecommendResponse,
    RecordResult,
    RecordStreamResponse,
    ScriptedServer,
    SessionResponse,
    answering,
    hang,
    slate,
    snapshot,
    streaming,
    token,
)

_T = TypeVar("_T")


async def session(requests: AsyncIterator[Any], context: object) -> AsyncIterator[SessionResponse]:
    """Opens a session with a list, and records its events."""
    async for request in requests:
        if request.WhichOneof("kind") == "open":
            yield SessionResponse(frame=snapshot(1, "a"))
        else:
            yield SessionResponse(recorded=token(1))


async def recorded(requests: AsyncIterator[Any], context: object) -> AsyncIterator[RecordStreamResponse]:
    """Records events."""
    async for _ in requests:
        yield RecordStreamResponse(result=RecordResult(token=token(1)))


@dataclass(frozen=True)
class Elsewhere:
    """A server whose event loop runs in a thread, behind a relay."""

    server: ScriptedServer
    relay: Relay
    loop: asyncio.AbstractEventLoop

    @property
    def target(self) -> str:
        """What clients call."""
        return self.relay.target

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Runs a coroutine on the server's event loop. Returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def closed(self) -> None:
        """Waits until the clients have closed every connection."""
        self.run(self.relay.closed())


@contextmanager
def serving() -> Iterator[Elsewhere]:
    """Yields a running server. `GetProfile` hangs, and all else answers."""
    ready: list[Elsewhere] = []
    started = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        server = ScriptedServer()
        server.play("Recommend", answering(RecommendResponse(slate=slate("a"))))
        server.play("StreamRecommendations", streaming(snapshot(1, "a"), park=True))
        server.play("GetProfile", hang)
        server.play("Session", session)
        server.play("RecordStream", recorded)
        await server.start()
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        async with relaying(server.port) as relay:
            ready.append(Elsewhere(server, relay, loop))
            stop.append(lambda: loop.call_soon_threadsafe(stopped.set))
            started.set()
            await stopped.wait()
            await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(20)
    yield ready[0]
    stop[0]()
    thread.join(20)
