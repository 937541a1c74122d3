"""Sessions of a real server whose client ends its half: the last list includes the events, as far as time allows."""

import asyncio

import grpc
import pytest
import pytest_asyncio

from recstream.v1 import frame_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server import metrics
from tests.server.streams import ids
from tests.server.world import ITEMS, World, event, world

LONG_MS = 600_000


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    # A session without a deadline waits so long for its events that no busy machine ends the wait.
    async with world(kafka, valkey, prefix, default_deadline_ms=LONG_MS, max_deadline_ms=LONG_MS) as around:
        yield around


async def open_session(around: World, user_id: str, timeout: float | None = None):
    call = around.recommendations.Session(timeout=timeout)
    await call.write(rpc.SessionRequest(open=rpc.StreamRecommendationsRequest(user_id=user_id, count=5)))
    return call


async def act(call, *item_ids: str, action: str = "like") -> None:
    for item_id in item_ids:
        await call.write(rpc.SessionRequest(interaction=event("", item_id, action)))


async def rest(call) -> list[rpc.SessionResponse]:
    """The answers until the stream ends. Fails if its status is not OK."""
    answers = []
    while (answer := await asyncio.wait_for(call.read(), 60)) is not grpc.aio.EOF:
        answers.append(answer)
    assert await call.code() is grpc.StatusCode.OK, await call.details()
    return answers


def frames(answers: list[rpc.SessionResponse]) -> list[frame_pb2.Frame]:
    found = [answer.frame for answer in answers if answer.HasField("frame")]
    return [frame for frame in found if not frame.HasField("heartbeat")]


def tokens(answers: list[rpc.SessionResponse]) -> list[str]:
    return [answer.recorded for answer in answers if answer.HasField("recorded")]


def named(around: World, found: list[frame_pb2.Frame], token: str) -> bool:
    """Whether a frame names the event, which was recorded without an id."""
    (position,) = around.positions(token, "ann")
    return position.event_id in {cause.event_id for frame in found for cause in frame.caused_by}


async def test_the_last_list_of_an_ended_session_includes_its_events(around: World) -> None:
    call = await open_session(around, "ann")
    first = (await call.read()).frame
    around.ingest.stalled = True
    liked = ids(first)[:3]
    await act(call, *liked)
    await call.done_writing()
    recorded = [(await call.read()).recorded for _ in liked]
    around.ingest.stalled = False
    later = frames(await rest(call))
    assert later and not set(liked) & set(ids(later[-1])) and len(ids(later[-1])) == 5
    assert all(named(around, later, token) for token in recorded)


async def test_a_session_that_is_sent_at_once_ends_with_a_list_that_includes_its_events(
    around: World,
) -> None:
    call = await open_session(around, "ann")
    await act(call, *ITEMS[:3])
    await call.done_writing()
    answers = await rest(call)
    assert len(tokens(answers)) == 3
    assert not set(ITEMS[:3]) & set(ids(frames(answers)[-1]))


async def test_events_that_wake_no_stream_are_in_the_last_list_too(around: World) -> None:
    call = await open_session(around, "ann")
    first = (await call.read()).frame
    await act(call, ids(first)[0], action="impression")
    await call.done_writing()
    answers = await rest(call)
    (token,) = tokens(answers)
    assert named(around, frames(answers), token)


async def test_the_last_list_includes_events_whose_announcements_were_lost(kafka, valkey, prefix) -> None:
    lonely = {"reread_seconds": 600, "default_deadline_ms": LONG_MS, "max_deadline_ms": LONG_MS}
    async with world(kafka, valkey, prefix, **lonely) as around:
        call = await open_session(around, "ann")
        first = (await call.read()).frame
        (watch,) = around.server._announcements._watches.values()
        watch.callbacks = []
        await act(call, ids(first)[0])
        await call.done_writing()
        answers = await rest(call)
        (token,) = tokens(answers)
        assert ids(first)[0] not in ids(frames(answers)[-1])
        assert named(around, frames(answers), token)


async def test_a_session_without_events_ends_with_its_first_list(around: World) -> None:
    call = await open_session(around, "ann")
    await call.done_writing()
    (only,) = await rest(call)
    assert len(ids(only.frame)) == 5


async def test_a_refused_event_keeps_no_session_open(around: World) -> None:
    around.ingest.stalled = True
    call = await open_session(around, "ann")
    await act(call, "item-1", action="fly")
    await call.done_writing()
    answers = await rest(call)
    assert [answer.WhichOneof("kind") for answer in answers if not answer.HasField("frame")] == ["refused"]


@pytest.mark.parametrize("bound", ["of the settings", "of the client"])
async def test_a_session_whose_events_are_not_applied_in_time_ends_in_order(
    kafka, valkey, prefix, bound: str
) -> None:
    default_ms, timeout = (200, None) if bound == "of the settings" else (LONG_MS, 10)
    async with world(
        kafka, valkey, prefix, default_deadline_ms=default_ms, max_deadline_ms=LONG_MS
    ) as around:
        around.ingest.stalled = True
        call = await open_session(around, "ann", timeout)
        first = (await call.read()).frame
        await act(call, ids(first)[0])
        await call.done_writing()
        missing = metrics.READ_YOUR_WRITES_INCLUDED[False]._value.get()
        answers = await rest(call)
        assert len(tokens(answers)) == 1 and not frames(answers)
        assert metrics.READ_YOUR_WRITES_INCLUDED[False]._value.get() == missing + 1


async def test_a_draining_server_sends_an_ending_session_elsewhere(around: World) -> None:
    around.ingest.stalled = True
    call = await open_session(around, "ann")
    await act(call, "item-1")
    await call.done_writing()
    while not (await asyncio.wait_for(call.read(), 30)).HasField("recorded"):
        pass
    draining = asyncio.create_task(around.server.drain())
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest(call)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    await asyncio.wait_for(draining, 30)
