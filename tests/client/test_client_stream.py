"""Streams: a broken stream is opened again, no list comes twice, and leaving cancels the call."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from recstream.client import (
    Backoff,
    Client,
    GoingAway,
    InvalidRequest,
    Overloaded,
    ProtocolViolation,
    RankedItem,
    Recommendations,
    RecstreamError,
    Unavailable,
)
from recstream.v1.frame_pb2 import Delta, Frame, GoAway, Heartbeat, PlacedItem
from recstream.v1.recommendation_service_pb2 import (
    StreamRecommendationsResponse,
)
from tests.client.scripted_server import (
    ScriptedServer,
    bad_request,
    retry_info,
    snapshot,
    status,
    streaming,
    take,
)

STREAM = "StreamRecommendations"
GONE = status(grpc.StatusCode.UNAVAILABLE, "gone")


async def test_whole_lists_come_with_their_causes(server: ScriptedServer, client: Client):
    beat = Frame(sequence=2, heartbeat=Heartbeat())
    server.play(
        STREAM, streaming(snapshot(1, "a", "b"), beat, snapshot(3, "b", causes=("e1", "e2")), park=True)
    )
    lists: list[Recommendations] = []
    async for each in client.stream("ann", count=2, surface="home", deltas=True):
        lists.append(each)
        if len(lists) == 2:
            break
    assert [each.item_ids for each in lists] == [("a", "b"), ("b",)]
    assert [[cause.event_id for cause in each.causes] for each in lists] == [[], ["e1", "e2"]]
    assert [each.sequence for each in lists] == [1, 3]
    [request] = server.requests(STREAM)
    assert (request.user_id, request.count, request.surface, request.deltas) == ("ann", 2, "home", True)


async def test_deltas_are_applied_even_across_a_break(server: ScriptedServer, client: Client):
    def placing(
        sequence: int, token: str, *places: tuple[int, str], removed: tuple[str, ...], length: int
    ) -> Frame:
        placed = [PlacedItem(position=at, item=RankedItem(item_id=item_id)) for at, item_id in places]
        delta = Delta(placed=placed, removed_item_ids=removed, length=length)
        return Frame(sequence=sequence, delta=delta, resume_token=token)

    server.play(
        STREAM,
        streaming(
            snapshot(1, "a", "b", token="t1"),
            placing(2, "t2", (0, "c"), removed=("b",), length=2),
            error=GONE,
        ),
        streaming(placing(1, "t3", (1, "d"), removed=(), length=3), park=True),
    )
    assert await take(client.stream("ann", deltas=True), 3) == [("a", "b"), ("c", "a"), ("c", "d", "a")]
    assert server.resume_tokens() == ["", "t2"]


async def test_a_broken_stream_resumes_with_its_token_and_no_list_comes_twice(
    server: ScriptedServer, client: Client
):
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), error=GONE),
        streaming(error=status(grpc.StatusCode.INTERNAL, "a proxy's reset")),
        streaming(error=status(grpc.StatusCode.CANCELLED, "a full queue")),
        streaming(),  # The server ends the stream without a status.
        streaming(snapshot(1, "b", token="t2"), park=True),
    )
    stream = client.stream("ann")
    assert await take(stream, 2) == [("a",), ("b",)]
    assert server.resume_tokens() == ["", "t1", "t1", "t1", "t1"]
    assert stream.reconnects == 4


async def test_the_client_finds_a_killed_server_that_comes_back(server: ScriptedServer, client: Client):
    server.play(STREAM, streaming(snapshot(1, "a", token="t1"), park=True))
    stream = client.stream("ann")
    assert (await anext(stream)).item_ids == ("a",)
    await server.stop()
    server.play(STREAM, streaming(snapshot(1, "b", token="t2"), park=True))
    waiting = asyncio.create_task(take(stream, 1))
    await asyncio.sleep(0.3)
    await server.start()
    assert await asyncio.wait_for(waiting, 30) == [("b",)]
    assert server.resume_tokens() == ["", "t1"]


async def test_a_go_away_is_honoured(server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []

    async def noted(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("recstream.client.reconnect.asyncio", SimpleNamespace(sleep=noted))
    leaving = Frame(
        sequence=2, go_away=GoAway(reconnect_after=Duration(nanos=300_000_000)), resume_token="t1-new"
    )
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), leaving, park=True),
        streaming(snapshot(1, "b"), park=True),
    )
    pauses: list[tuple[RecstreamError, float]] = []
    assert await take(client.stream("ann", on_retry=lambda *pause: pauses.append(pause)), 2) == [
        ("a",),
        ("b",),
    ]
    assert server.resume_tokens() == ["", "t1-new"]
    [(error, pause)] = pauses
    assert isinstance(error, GoingAway)
    assert waited == [pause] and pause >= 0.3
    assert await server.end() == "cancelled"  # by the client, at once


async def test_a_refusal_with_a_delay_is_honoured(server: ScriptedServer, client: Client):
    full = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_info(0.25))
    server.play(STREAM, streaming(error=full), streaming(snapshot(1, "a"), park=True))
    pauses: list[tuple[RecstreamError, float]] = []
    assert await take(client.stream("ann", on_retry=lambda *pause: pauses.append(pause)), 1) == [("a",)]
    [(error, pause)] = pauses
    assert isinstance(error, Overloaded)
    assert pause >= 0.25


async def test_pauses_grow_and_stay_bounded(server: ScriptedServer):
    server.play(STREAM, *[streaming(error=GONE)] * 12, streaming(snapshot(1, "a"), park=True))
    pauses: list[float] = []
    async with Client(server.target, backoff=Backoff(initial=0.004, maximum=0.032)) as client:
        stream = client.stream("ann", on_retry=lambda _, pause: pauses.append(pause))
        assert await take(stream, 1) == [("a",)]
    assert len(pauses) == 12
    assert all(pause <= min(0.032, 0.004 * 2**n) for n, pause in enumerate(pauses))


async def test_a_server_that_fails_after_each_first_list_is_not_flooded(server: ScriptedServer):
    server.play(STREAM, streaming(snapshot(1, "a", token="t"), error=GONE))
    attempts: list[float] = []
    async with Client(server.target, backoff=Backoff(initial=0.001, maximum=0.1)) as client:
        await take(client.stream("ann", on_retry=lambda _, pause: attempts.append(pause)), 12)
    assert max(attempts) > 0.002  # The pauses grow although every connection answered.


async def test_an_error_that_a_retry_cannot_fix_is_raised(server: ScriptedServer, client: Client):
    refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "no", bad_request(count="must be 1 to 500"))
    server.play(STREAM, streaming(error=refusal))
    with pytest.raises(InvalidRequest, match="count: must be 1 to 500"):
        await take(client.stream("ann", count=9_999), 1)
    assert len(server.seen) == 1


async def test_giving_up_raises_the_error_that_broke_the_stream(server: ScriptedServer):
    server.play(STREAM, streaming(error=GONE))
    async with Client(server.target, backoff=Backoff(0.01, 0.02, give_up_after=0.1)) as client:
        with pytest.raises(Unavailable, match="gone"):
            await take(client.stream("ann"), 1)


async def test_a_gap_in_sequence_numbers_opens_the_stream_again(server: ScriptedServer, client: Client):
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), snapshot(3, "c", token="t3"), park=True),
        streaming(snapshot(1, "b", token="t4"), park=True),
    )
    errors: list[RecstreamError] = []
    stream = client.stream("ann", on_retry=lambda error, _: errors.append(error))
    assert await take(stream, 2) == [("a",), ("b",)]
    assert isinstance(errors[0], ProtocolViolation)
    assert server.resume_tokens() == ["", "t1"]


async def test_heartbeats_keep_a_silent_stream_open(server: ScriptedServer):
    async def beating(request: object, context: object) -> AsyncIterator[StreamRecommendationsResponse]:
        for sequence in range(1, 9):
            await asyncio.sleep(0.1)
            yield StreamRecommendationsResponse(frame=Frame(sequence=sequence, heartbeat=Heartbeat()))
        yield StreamRecommendationsResponse(frame=snapshot(9, "a"))
        await asyncio.Event().wait()

    server.play(STREAM, beating)
    async with Client(server.target, idle_timeout=0.5) as client:
        assert await take(client.stream("ann"), 1) == [("a",)]
    assert len(server.seen) == 1


async def test_a_stream_resumes_from_a_list_of_an_earlier_process(server: ScriptedServer, client: Client):
    delta = Delta(placed=[PlacedItem(position=0, item=RankedItem(item_id="b"))], length=2)
    server.play(STREAM, streaming(Frame(sequence=1, delta=delta, resume_token="t2"), park=True))
    earlier = Recommendations(items=(RankedItem(item_id="a"),), resume_token="t1")
    assert await take(client.stream("ann", deltas=True, resume=earlier), 1) == [("b", "a")]
    assert server.resume_tokens() == ["t1"]


async def test_a_slow_reader_gets_the_newest_list(server: ScriptedServer, client: Client):
    padding = tuple(f"item-{n}" for n in range(500))  # 15 lists are more than a window of HTTP/2
    server.play(
        STREAM,
        streaming(snapshot(1, "i0", token="t0"), park=True),
        streaming(
            *(snapshot(n, f"i{n}", *padding, token=f"t{n}", causes=(f"e{n}",)) for n in range(1, 16)),
            error=GONE,
        ),
        streaming(snapshot(1, "i16", token="t16"), park=True),
    )
    broken = asyncio.Event()
    async with client.stream("ann", on_retry=lambda *_: broken.set()) as lists:
        assert await take(lists, 1) == [("i0",)]
        reading = asyncio.create_task(anext(lists))
        first = await asyncio.wait_for(reading, 10)
        await asyncio.wait_for(broken.wait(), 10)  # everything that was sent has arrived
        newest = await anext(lists)
    assert first.item_ids[0] == "i1"
    assert newest.item_ids[0] == "i15"
    assert [cause.event_id for cause in newest.causes] == [f"e{n}" for n in range(2, 16)]
    assert newest.sequence == 15


async def test_lists_that_are_passed_over_are_still_applied_in_order(server: ScriptedServer, client: Client):
    def appended(sequence: int) -> Frame:
        item = RankedItem(item_id=f"i{sequence}")
        delta = Delta(placed=[PlacedItem(position=sequence - 1, item=item)], length=sequence)
        return Frame(sequence=sequence, delta=delta, resume_token=f"t{sequence}")

    server.play(
        STREAM,
        streaming(snapshot(1, "i1", token="t1"), *(appended(n) for n in range(2, 9)), appended(10)),
        streaming(park=True),
    )
    broken = asyncio.Event()
    errors: list[RecstreamError] = []

    def on_retry(error: RecstreamError, pause: float) -> None:
        errors.append(error)
        broken.set()

    stream = client.stream("ann", deltas=True, on_retry=on_retry)
    await anext(stream)
    await asyncio.wait_for(broken.wait(), 10)
    assert (await anext(stream)).item_ids == tuple(f"i{n}" for n in range(1, 9))
    assert isinstance(errors[0], ProtocolViolation)
    await stream.aclose()


async def test_the_causes_of_unread_lists_are_bounded(server: ScriptedServer, client: Client):
    frames = [snapshot(n, "a", causes=(f"e{n}",)) for n in range(1, 400)]
    server.play(STREAM, streaming(*frames, error=GONE), streaming(park=True))
    broken = asyncio.Event()
    async with client.stream("ann", on_retry=lambda *_: broken.set()) as lists:
        await anext(lists)
        await asyncio.wait_for(broken.wait(), 10)
        assert [cause.event_id for cause in (await anext(lists)).causes] == [f"e{n}" for n in range(144, 400)]


async def test_an_unread_list_is_returned_after_the_stream_was_left(server: ScriptedServer, client: Client):
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), snapshot(2, "b", token="t2"), error=GONE),
        streaming(park=True),
    )
    broken = asyncio.Event()
    stream = client.stream("ann", on_retry=lambda *_: broken.set())
    async for _ in stream:
        await asyncio.wait_for(broken.wait(), 10)
        break
    assert stream.latest is not None and stream.latest.item_ids == ("a",)
    assert await take(stream, 1) == [("b",)]
