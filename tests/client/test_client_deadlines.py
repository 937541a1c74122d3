"""Deadlines: a server that hangs leaves time for another one, and a dead address says what to check."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from recstream.client import (
    Backoff,
    Client,
    DeadlineExceeded,
    RecstreamError,
    Unavailable,
    interaction,
)
from recstream.v1.profile_service_pb2 import EraseProfileResponse
from tests.client.conftest import QUICK
from tests.client.scripted_server import (
    GetProfileResponse,
    RecommendResponse,
    ScriptedServer,
    answering,
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


async def test_the_last_try_may_take_all_the_time(server: ScriptedServer):
    clock = Clock(RecommendResponse(slate=slate("a")))
    server.play("Recommend", clock)
    async with Client(server.target, retries=0) as client:
        await client.recommend("ann", timeout=40)
    async with Client(server.target) as client:
        await client.recommend("ann", timeout=40)
        await client.recommend("ann", timeout=0.4)
    alone, first, short = clock.left
    assert 20 < alone <= 40
    assert 10 < first <= 20
    assert short > 0.2  # so short a time is not divided: the server would make a simpler list of it


async def test_a_call_that_waits_for_events_may_wait_all_the_time(server: ScriptedServer, client: Client):
    lists = Clock(RecommendResponse(slate=slate("a"), includes_events=True))
    profiles = Clock(GetProfileResponse(includes_events=True))
    server.play("Recommend", lists)
    server.play("GetProfile", profiles)
    assert (await client.recommend("ann", after=[token(1)], timeout=40)).includes_events
    assert (await client.profile("ann", after=iter([token(1)]), timeout=40)).includes_events
    assert [page.item_ids async for page in client.pages("ann", after=iter([token(1)]), timeout=40)] == [
        ("a",)
    ]
    assert all(left > 20 for left in (*lists.left, *profiles.left))


async def test_servers_that_all_hang_are_a_deadline_error_that_names_the_target(server: ScriptedServer):
    server.play("Recommend", hang)
    async with Client(server.target, backoff=QUICK) as client:
        with pytest.raises(DeadlineExceeded, match=server.target):
            await client.recommend("ann", timeout=1.2)
    assert len(server.seen) >= 2


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
