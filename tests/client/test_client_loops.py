"""A client is used on one event loop after another, and says so if it is used on two at the same time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from recstream.client import Client, RecstreamError
from tests.client.conftest import QUICK
from tests.client.relay import Relay, relaying
from tests.client.scripted_server import (
    RecommendResponse,
    ScriptedServer,
    answering,
    slate,
    snapshot,
    streaming,
)


@dataclass(frozen=True)
class Elsewhere:
    """A server whose event loop runs in a thread."""

    server: ScriptedServer
    relay: Relay
    loop: asyncio.AbstractEventLoop

    def closed(self) -> None:
        """Waits until the clients have closed every connection."""
        asyncio.run_coroutine_threadsafe(self.relay.closed(), self.loop).result(20)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A running server on an event loop of its own."""
    ready: list[Elsewhere] = []
    started = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        server = ScriptedServer()
        server.play("Recommend", answering(RecommendResponse(slate=slate("a"))))
        server.play("StreamRecommendations", streaming(snapshot(1, "a"), park=True))
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


async def first(client: Client) -> tuple[str, ...]:
    """Returns the first list of a stream."""
    async with client.stream("ann") as lists:
        return (await anext(lists)).item_ids


def test_a_client_works_on_one_event_loop_after_another(elsewhere: Elsewhere):
    client = Client(elsewhere.relay.target, backoff=QUICK)
    for _ in range(3):
        assert asyncio.run(client.recommend("ann")).item_ids == ("a",)
        assert asyncio.run(first(client)) == ("a",)
    assert elsewhere.relay.opened == 6
    asyncio.run(client.close())
    elsewhere.closed()


def test_an_open_stream_of_an_earlier_event_loop_keeps_no_connection(elsewhere: Elsewhere):
    client = Client(elsewhere.relay.target, backoff=QUICK)
    stream = client.stream("ann")

    async def begin() -> None:
        assert (await anext(stream)).item_ids == ("a",)

    asyncio.run(begin())
    assert asyncio.run(client.recommend("ann")).item_ids == ("a",)
    asyncio.run(client.close())
    elsewhere.closed()


def test_a_client_that_is_closed_on_another_event_loop_keeps_no_connection(elsewhere: Elsewhere):
    client = Client(elsewhere.relay.target, backoff=QUICK)
    asyncio.run(client.recommend("ann"))
    asyncio.run(client.close())
    elsewhere.closed()


def test_two_event_loops_at_the_same_time_are_refused(elsewhere: Elsewhere):
    client = Client(elsewhere.relay.target, backoff=QUICK)

    async def both() -> None:
        await client.recommend("ann")
        with pytest.raises(RecstreamError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.recommend("ann")))
        assert (await client.recommend("ann")).item_ids == ("a",)
        await client.close()

    asyncio.run(both())
    elsewhere.closed()
