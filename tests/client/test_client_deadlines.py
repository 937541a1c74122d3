"""Deadlines: a slow server may take its time, one that hangs leaves time for another, a dead one is named."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from recstream.client import (
    Backoff,
    Client,
    ClientClosed,
    DeadlineExceeded,
    Item,
    RecstreamError,
    Unavailable,
    interaction,
)
from recstream.v1.profile_service_pb2 import EraseProfileResponse
from tests.client.conftest import QUICK
from tests.client.scripted_server import (
    RecommendResponse,
    ScriptedServer,
    answering,
    failing,
    hang,
    slate,
    token,
)


@pytest.fixture
async def other() -> AsyncIterator[ScriptedServer]:
    """A second server."""
    scripted = ScriptedServer()
    await scripted.start()
    yield scripted
    await scripted.stop()


class Clock:
    """Answers calls, and keeps the seconds that each had left."""

    def __init__(self, response: object) -> None:
        self.response = response
        self.left: list[float] = []

    async def __call__(self, request: object, context: grpc.aio.ServicerContext) -> object:
        self.left.append(context.time_remaining())
        return self.response


async def test_a_server_that_hangs_leaves_time_for_another_one(server: ScriptedServer, other: ScriptedServer):
    server.play("Recommend", hang)
    other.play("Recommend", answering(RecommendResponse(slate=slate("a"))))
    target = f"ipv4:127.0.0.1:{server.port},127.0.0.1:{other.port}"
    async with Client(target, backoff=QUICK) as client:
        for each in (server, other):
            each.play("EraseProfile", answering(EraseProfileResponse()))
        while not (server.seen and other.seen):  # both are connected, and take turns from now on
            await client.erase("ann")
        for _ in range(3):
            assert (await client.recommend("ann", timeout=2)).item_ids == ("a",)
    assert server.requests("Recommend")


class Slow:
    """Answers a call after 80 % of its time."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Semaphore(0)

    async def __call__(self, request: object, context: grpc.aio.ServicerContext) -> RecommendResponse:
        try:
            await asyncio.sleep(0.8 * context.time_remaining())
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        return RecommendResponse(slate=slate("slow"))


async def test_a_slow_server_answers_and_has_one_more_try_to_bear(server: ScriptedServer, client: Client):
    slow = Slow()
    server.play("Recommend", slow)
    assert (await client.recommend("ann", timeout=3)).item_ids == ("slow",)
    await asyncio.wait_for(slow.cancelled.acquire(), 10)
    assert len(server.seen) == 2


async def test_cancelling_the_task_cancels_both_tries(server: ScriptedServer, client: Client):
    slow = Slow()
    server.play("Recommend", slow)
    task = asyncio.create_task(client.recommend("ann", timeout=2))
    while len(server.seen) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(2):
        await asyncio.wait_for(slow.cancelled.acquire(), 10)


async def test_every_try_may_take_all_the_time_that_is_left(server: ScriptedServer, client: Client):
    clock = Clock(RecommendResponse(slate=slate("a")))
    server.play("Recommend", failing(grpc.StatusCode.UNAVAILABLE), clock)
    await client.recommend("ann", timeout=40)
    [left] = clock.left
    assert 20 < left <= 40


async def test_a_call_that_waits_for_events_or_writes_items_makes_one_try(
    server: ScriptedServer, client: Client
):
    for method in ("Recommend", "GetProfile", "PutItems", "WithdrawItems"):
        server.play(method, hang)
    for call in (
        client.recommend("ann", after=iter([token(1)]), timeout=1.2),
        client.profile("ann", after=iter([token(1)]), timeout=1.2),
        anext(client.pages("ann", after=iter([token(1)]), timeout=1.2)),
        client.put_items([Item(item_id="a")], timeout=1.2),
        client.withdraw(["a"], timeout=1.2),
    ):
        with pytest.raises(DeadlineExceeded):
            await call
    assert len(server.seen) == 5


async def test_servers_that_all_hang_are_a_deadline_error_that_names_the_target(
    server: ScriptedServer, client: Client
):
    server.play("Recommend", hang)
    with pytest.raises(DeadlineExceeded, match=server.target):
        await client.recommend("ann", timeout=1.2)
    assert len(server.seen) == 2


async def test_closing_the_client_ends_its_waiting_calls(server: ScriptedServer, client: Client):
    server.play("Recommend", hang)
    waiting = asyncio.create_task(client.recommend("ann", timeout=60))
    while not server.seen:
        await asyncio.sleep(0.01)
    await client.close()
    with pytest.raises(ClientClosed, match="make a new one"):
        await asyncio.wait_for(waiting, 10)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("target", "happened"),
    [("127.0.0.1:1", "refused"), ("no-such-host.invalid:50051", "no-such-host.invalid")],
    ids=["refused", "not resolved"],
)
async def test_a_dead_address_says_which_what_and_what_to_check(target: str, happened: str):
    broken: list[RecstreamError] = []
    quick = Backoff(0.01, 0.02, give_up_after=0.05)
    async with Client(target, retries=1, backoff=quick) as client:
        attempts: list[Callable[[], object]] = [
            lambda: client.recommend("ann"),
            lambda: anext(client.stream("ann", on_retry=lambda error, _: broken.append(error))),
        ]
        for attempt in attempts:
            with pytest.raises(Unavailable) as caught:
                await attempt()
            broken.append(caught.value)
    assert len(broken) >= 2
    for error in broken:
        assert f"{target} cannot be reached" in str(error)
        assert happened in str(error).lower()
        assert "check the host name" in str(error)


async def test_the_metadata_function_may_be_async(server: ScriptedServer):
    server.play("Recommend", answering(RecommendResponse()))
    tokens = iter(["one", "two"])

    async def renewed() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"Authorization": next(tokens)}

    async with Client(server.target, metadata=renewed) as client:
        await client.recommend("ann")
        await client.recommend("ann")
    assert [each.metadata["authorization"] for each in server.seen] == ["one", "two"]


async def test_the_time_of_the_metadata_function_counts_within_the_deadline(server: ScriptedServer):
    clock = Clock(RecommendResponse())
    server.play("Recommend", clock)
    pauses = iter([0.2, 60])

    async def slow() -> dict[str, str]:
        await asyncio.sleep(next(pauses))
        return {}

    async with Client(server.target, metadata=slow, retries=0) as client:
        await client.recommend("ann", timeout=20)
        with pytest.raises(DeadlineExceeded, match="metadata"):
            await client.recommend("ann", timeout=0.1)
    [left] = clock.left
    assert left < 19.9


@pytest.mark.parametrize(
    "failure", [LookupError("no token"), TimeoutError("no token"), Unavailable("no token")]
)
async def test_a_failure_of_the_metadata_function_is_raised_as_it_is(
    server: ScriptedServer, failure: Exception
):
    async def failing() -> dict[str, str]:
        raise failure

    async with Client(server.target, metadata=failing, backoff=QUICK) as client:
        session = client.session("ann")
        async with session:
            attempts: list[Callable[[], object]] = [
                lambda: client.recommend("ann"),
                lambda: client.export_profile("ann"),
                lambda: anext(client.stream("ann")),
                lambda: anext(client.record_many([interaction("ann", "a", "view")])),
                lambda: session.record("a", "view"),
                lambda: anext(session),
            ]
            for attempt in attempts:
                with pytest.raises(type(failure), match="no token") as caught:
                    await asyncio.wait_for(attempt(), 10)
                assert caught.value is failure or isinstance(failure, RecstreamError)
    assert server.seen == []
