"""However a stream is left, its call is cancelled on the server."""

import asyncio
import gc

import grpc
import pytest

from recstream.client import Client, RecstreamError
from tests.client.scripted_server import ScriptedServer, retry_info, snapshot, status, streaming, take

STREAM = "StreamRecommendations"


@pytest.mark.parametrize("kept", [True, False], ids=["stream kept", "stream dropped"])
async def test_break_cancels_the_call_on_the_server(server: ScriptedServer, client: Client, kept: bool):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    if kept:
        stream = client.stream("ann")
        async for _ in stream:
            break
    else:
        async for _ in client.stream("ann"):
            break
    assert await server.end() == "cancelled"


async def test_a_stream_that_was_left_resumes_when_it_is_iterated_again(
    server: ScriptedServer, client: Client
):
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), park=True),
        streaming(snapshot(1, "b", token="t2"), park=True),
    )
    stream = client.stream("ann")
    assert await take(stream, 1) == [("a",)]
    assert await server.end() == "cancelled"
    assert await take(stream, 1) == [("b",)]
    assert server.resume_tokens() == ["", "t1"]


async def test_an_exception_in_the_loop_cancels_the_call_on_the_server(
    server: ScriptedServer, client: Client
):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))

    async def show() -> None:
        async for _ in client.stream("ann"):
            raise LookupError

    with pytest.raises(LookupError):
        await show()
    assert await server.end() == "cancelled"


async def test_aclose_ends_the_call_and_the_iteration(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    async with client.stream("ann") as stream:
        await anext(stream)
        reading = asyncio.create_task(take(stream, 1))
        await asyncio.sleep(0.05)
        await stream.aclose()
        assert await asyncio.wait_for(reading, 10) == []
    assert await server.end() == "cancelled"
    assert [each async for each in stream] == []
    assert len(server.seen) == 1


async def test_cancelling_the_task_cancels_the_call_on_the_server(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    first = asyncio.Event()

    async def show() -> None:
        async for _ in client.stream("ann"):
            first.set()

    task = asyncio.create_task(show())
    await asyncio.wait_for(first.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await server.end() == "cancelled"


async def test_cancelling_during_a_pause_ends_the_stream(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(error=status(grpc.StatusCode.UNAVAILABLE, "later", retry_info(60))))
    pausing = asyncio.Event()
    task = asyncio.create_task(take(client.stream("ann", on_retry=lambda *_: pausing.set()), 1))
    await asyncio.wait_for(pausing.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(server.seen) == 1


async def test_aclose_ends_a_pause(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(error=status(grpc.StatusCode.UNAVAILABLE, "later", retry_info(60))))
    pausing = asyncio.Event()
    stream = client.stream("ann", on_retry=lambda *_: pausing.set())
    task = asyncio.create_task(take(stream, 1))
    await asyncio.wait_for(pausing.wait(), 10)
    await stream.aclose()
    assert await asyncio.wait_for(task, 10) == []


async def test_a_wait_that_times_out_loses_no_list(server: ScriptedServer, client: Client):
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), park=True),
        streaming(snapshot(1, "b", token="t2"), park=True),
    )
    stream = client.stream("ann")
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.1)
    assert (await anext(stream)).item_ids == ("b",)
    assert server.resume_tokens() == ["", "t1"]
    await stream.aclose()


async def test_closing_the_client_ends_its_streams(server: ScriptedServer):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    client = Client(server.target)
    stream = client.stream("ann")
    await anext(stream)
    await client.close()
    assert await server.end() == "cancelled"
    with pytest.raises(RecstreamError, match="closed"):
        await anext(stream)


async def test_many_abandoned_streams_leave_nothing_behind(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))

    async def visit() -> None:
        async for _ in client.stream("ann"):
            break

    await asyncio.gather(*(visit() for _ in range(100)))
    assert [await server.end() for _ in range(100)] == ["cancelled"] * 100
    gc.collect()
    ours = [task for task in asyncio.all_tasks() if "recstream" in repr(task.get_coro())]
    assert ours == []


async def test_a_dropped_stream_ends_its_call_and_warns(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    for _ in range(21):
        with pytest.warns(ResourceWarning, match="stream of 'ann' was dropped"):
            await anext(client.stream("ann"))
        assert await server.end() == "cancelled"


async def test_a_stream_that_was_left_or_closed_does_not_warn(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    await take(client.stream("ann"), 1)
    async with client.stream("ann") as stream:
        await anext(stream)
    del stream
    assert [await server.end() for _ in range(2)] == ["cancelled"] * 2


async def test_a_stream_that_is_dropped_on_another_thread_ends_its_call(
    server: ScriptedServer, client: Client
):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    held = [client.stream("ann")]
    await anext(held[0])
    with pytest.warns(ResourceWarning):
        await asyncio.to_thread(held.clear)
    assert await server.end() == "cancelled"
