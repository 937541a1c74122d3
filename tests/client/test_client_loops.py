"""A client is used on one event loop after another, and says so if it is used on two at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from recstream.client import Client, RecstreamError, interaction
from tests.client.conftest import QUICK
from tests.client.elsewhere import Elsewhere


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
