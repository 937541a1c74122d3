"""What the client lets go of is freed at once: no exception keeps a call, and no call keeps a connection."""

import asyncio
import gc
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import grpc
import pytest
from grpc_status import rpc_status

from recstream.client import Client, ClientClosed, RecstreamError, interaction
from tests.client.conftest import QUICK
from tests.client.relay import relaying
from tests.client.scripted_server import (
    RecordResult,
    RecordStreamResponse,
    ScriptedServer,
    SessionResponse,
    bad_request,
    failing,
    hang,
    snapshot,
    status,
    streaming,
)

STREAM = "StreamRecommendations"
DENIED = status(grpc.StatusCode.PERMISSION_DENIED, "not for you")
Use = Callable[[Client], Awaitable[object]]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turns the collector off, so that only what is not part of a cycle is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def denied(requests: object, context: grpc.aio.ServicerContext) -> AsyncIterator[object]:
    """Refuses a session or a stream of events."""
    await context.abort_with_status(rpc_status.to_status(DENIED))
    yield


async def refusing(requests: AsyncIterator[object], context: object) -> AsyncIterator[RecordStreamResponse]:
    """Refuses each event."""
    details = bad_request(interaction__action="is not configured")
    async for _ in requests:
        refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "refused", details)
        yield RecordStreamResponse(result=RecordResult(refused=refusal))


async def opening(requests: AsyncIterator[object], context: object) -> AsyncIterator[SessionResponse]:
    """Answers a session with one list."""
    yield SessionResponse(frame=snapshot(1, "a"))
    async for _ in requests:
        pass


async def cancelled_stream(client: Client) -> object:
    first = asyncio.Event()

    async def show() -> None:
        async for _ in client.stream("ann"):
            first.set()

    task = asyncio.create_task(show())
    await first.wait()
    task.cancel()
    await asyncio.wait([task])
    return task


async def cancelled_call(client: Client) -> object:
    task = asyncio.create_task(client.recommend("ann"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    return task


async def error_of(work: Awaitable[object]) -> Exception:
    """Awaits what must fail. Returns its error."""
    try:
        await work
    except RecstreamError as error:
        return error
    raise AssertionError("it did not fail")


async def failed_call(client: Client) -> object:
    return await error_of(client.profile("ann"))


async def unavailable_call(client: Client) -> object:
    return await error_of(client.item("a"))


async def failed_stream(client: Client) -> object:
    return await error_of(anext(client.stream("denied")))


async def failed_session(client: Client) -> object:
    async with client.session("denied") as session:
        errors = [
            await error_of(attempt)
            for attempt in (anext(session), session.record("a", "view"), anext(session))
        ]
    return session, errors


async def failed_tasks(client: Client) -> object:
    async with client.session("ann") as session:
        tasks = [
            asyncio.create_task(work)
            for work in (
                client.profile("ann"),
                client.recommend("ann", timeout=0.1),
                session.record("a", "view", timeout=0.1),
            )
        ]
        await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), RecstreamError) for task in tasks)
    return tasks


async def unread_session(client: Client) -> object:
    async with client.session("ann") as session:
        await anext(session)
        waiting = asyncio.create_task(session.record("a", "view"))
        await asyncio.sleep(0)
    await asyncio.wait([waiting])
    assert isinstance(waiting.exception(), ClientClosed)
    return session, waiting


async def refused_events(client: Client) -> object:
    return [each async for each in client.record_many([interaction("ann", "a", "view")] * 3)]


async def failed_events(client: Client) -> object:
    return await error_of(anext(client.record_many([interaction("denied", "a", "view")])))


USES: list[Use] = [
    cancelled_stream,
    cancelled_call,
    failed_call,
    unavailable_call,
    failed_stream,
    failed_session,
    failed_tasks,
    unread_session,
    refused_events,
    failed_events,
]


def script(server: ScriptedServer, use: Use) -> None:
    server.play("Recommend", hang)
    server.play("GetProfile", failing(grpc.StatusCode.PERMISSION_DENIED))
    server.play("GetItem", failing(grpc.StatusCode.UNAVAILABLE))
    server.play(
        STREAM, streaming(error=DENIED) if use is failed_stream else streaming(snapshot(1, "a"), park=True)
    )
    server.play("Session", denied if use is failed_session else opening)
    server.play("RecordStream", denied if use is failed_events else refusing)


@pytest.mark.parametrize("use", USES)
async def test_a_closed_client_has_no_connection_whatever_is_kept(
    server: ScriptedServer, no_collector: None, use: Use
):
    script(server, use)
    async with relaying(server.port) as relay:
        async with Client(relay.target, backoff=QUICK) as client:
            kept = await use(client)
            assert relay.open == 1
        await relay.closed()
    del kept


@pytest.mark.parametrize("use", USES)
async def test_no_exception_is_part_of_a_cycle(server: ScriptedServer, no_collector: None, use: Use):
    script(server, use)
    async with Client(server.target, backoff=QUICK) as client:
        await use(client)
    await asyncio.sleep(0.1)
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = [each for each in gc.garbage if _is_of_the_client(each)]
        assert found == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def _is_of_the_client(each: object) -> bool:
    if isinstance(each, types.FrameType):
        return "recstream" in each.f_code.co_filename and "client" in each.f_code.co_filename
    ours = "recstream.client" in str(type(each).__module__)
    return ours or isinstance(each, RecstreamError | grpc.aio.AioRpcError)


async def test_closing_the_client_frees_its_connection_while_a_stream_waits(
    server: ScriptedServer, no_collector: None
):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    async with relaying(server.port) as relay:
        client = Client(relay.target, backoff=QUICK)
        stream = client.stream("ann")
        await anext(stream)
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(waiting, 10)
        await relay.closed()
