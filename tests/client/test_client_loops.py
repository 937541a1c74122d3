"""A client is used on one event loop after another, and says so if it is used on two at the same time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from recstream.client import Client, RecstreamError, interaction
from tests.client.conftest import QUICK
from tests.client.relay import Relay, relaying
from tests.client.scripted_server import (
    RecommendResponse,
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


async def session(requests: AsyncIterator[object], context: object) -> AsyncIterator[SessionResponse]:
    """Opens a session with a list."""
    yield SessionResponse(frame=snapshot(1, "a"))
    async for _ in requests:
        pass


async def recorded(requests: AsyncIterator[object], context: object) -> AsyncIterator[RecordStreamResponse]:
    """Records events."""
    async for _ in requests:
        yield RecordStreamResponse(token=token(1))


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


async def stream_left_open(client: Client) -> object:
    stream = client.stream("ann")
    await anext(stream)
    return stream


async def session_left_open(client: Client) -> object:
    session = client.session("ann")
    await session.__aenter__()
    await anext(session)
    return session


async def events_left_open(client: Client) -> object:
    outcomes = client.record_many(interaction("ann", "a", "view") for _ in range(1_000))
    await anext(outcomes)
    return outcomes


async def cancelled_call(client: Client) -> object:
    task = asyncio.create_task(client.profile("ann"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    return task


async def call_left_running(client: Client) -> object:
    task = asyncio.create_task(client.profile("ann"))
    await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize(
    "use", [stream_left_open, session_left_open, events_left_open, cancelled_call, call_left_running]
)
def test_what_an_earlier_event_loop_left_open_is_freed_and_logs_nothing(
    elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, use: Callable[[Client], Awaitable[object]]
):
    client = Client(elsewhere.relay.target, backoff=QUICK)
    for _ in range(20):
        kept = asyncio.run(use(client))
    assert asyncio.run(client.recommend("ann")).item_ids == ("a",)
    asyncio.run(client.close())
    del kept
    elsewhere.closed()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


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
