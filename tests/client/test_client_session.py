"""Sessions send events and receive lists on one stream."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_status import rpc_status

from recstream.client import (
    Client,
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    NotAllowed,
    RecstreamError,
    Session,
)
from recstream.v1.recommendation_service_pb2 import SessionRequest
from tests.client.scripted_server import ScriptedServer, SessionResponse, bad_request, snapshot, status, token

Requests = AsyncIterator[SessionRequest]
Responses = AsyncIterator[SessionResponse]


class Counter:
    """The server's side of sessions: answers each event with its number, and sends a new list after it."""

    def __init__(self, breaks_after: int | None = None) -> None:
        self.opened: list[SessionRequest] = []
        self.events: list[str] = []
        self.breaks_after = breaks_after

    async def __call__(self, requests: Requests, context: grpc.aio.ServicerContext) -> Responses:
        sequence = 0
        async for request in requests:
            if request.WhichOneof("kind") == "open":
                self.opened.append(request)
                yield self.frame(1, "start")
                sequence = 1
                continue
            event = request.interaction
            if event.action == "forbidden":
                details = bad_request(interaction__action="is not configured")
                yield SessionResponse(refused=status(grpc.StatusCode.INVALID_ARGUMENT, "refused", details))
                continue
            self.events.append(event.event_id)
            if self.breaks_after == len(self.events):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken before the answer")
            yield SessionResponse(recorded=token(len(set(self.events))))
            sequence += 1
            yield self.frame(sequence, event.item_id, event.event_id)

    @staticmethod
    def frame(sequence: int, item_id: str, *causes: str) -> SessionResponse:
        return SessionResponse(frame=snapshot(sequence, item_id, token=f"t-{item_id}", causes=causes))


async def until(session: Session, item_id: str) -> list[str]:
    """Returns the causes of the lists up to the one with the item."""
    causes: list[str] = []
    async with asyncio.timeout(10):
        async for each in session:
            causes += [cause.event_id for cause in each.causes]
            if each.item_ids == (item_id,):
                return causes
    raise AssertionError("the session ended")


async def test_events_are_answered_in_order_and_lists_follow(server: ScriptedServer, client: Client):
    counter = Counter()
    server.play("Session", counter)
    async with client.session("ann", count=1) as session:
        answers = await asyncio.gather(
            *(session.record(f"i{n}", "view", event_id=f"e{n}") for n in range(50))
        )
        assert answers == [token(n) for n in range(1, 51)]
        # Lists that are not read in time are dropped, but not their causes.
        assert await until(session, "i49") == [f"e{n}" for n in range(50)]
    assert counter.events == [f"e{n}" for n in range(50)]
    assert counter.opened[0].open.user_id == "ann"
    assert counter.opened[0].open.count == 1


async def test_impressions_and_undo_events_are_of_the_sessions_user(server: ScriptedServer, client: Client):
    counter = Counter()
    server.play("Session", counter)
    async with client.session("ann") as session:
        await session.record_impression(["a", "b"], slate_id="s", event_id="e1")
        await session.undo("e1")
    assert counter.events[0] == "e1" and len(counter.events) == 2


async def test_a_refused_event_raises_in_record_and_the_session_goes_on(
    server: ScriptedServer, client: Client
):
    server.play("Session", Counter())
    async with client.session("ann") as session:
        good, refused, better = await asyncio.gather(
            session.record("a", "view"),
            session.record("b", "forbidden"),
            session.record("c", "view"),
            return_exceptions=True,
        )
    assert (good, better) == (token(1), token(2))
    assert isinstance(refused, InvalidRequest)
    assert refused.violations[0].field == "interaction.action"


async def test_a_session_waits_for_its_events_once(server: ScriptedServer, client: Client):
    counter = Counter(breaks_after=1)
    server.play("Session", counter)
    async with client.session("ann", after=[token(1)], after_event_ids=["e0"]) as session:
        await session.record("i1", "view", event_id="e1")
    assert [(list(each.open.after), list(each.open.after_event_ids)) for each in counter.opened] == [
        ([token(1)], ["e0"]),
        ([], []),
    ]


async def test_after_a_break_unanswered_events_are_sent_again_in_order(
    server: ScriptedServer, client: Client
):
    counter = Counter(breaks_after=4)
    server.play("Session", counter)
    async with client.session("ann") as session:
        answers = await asyncio.gather(*(session.record(f"i{n}", "view", event_id=f"e{n}") for n in range(8)))
        assert answers == [token(n) for n in range(1, 9)]
        assert (await until(session, "i7"))[-1] == "e7"
        assert session.reconnects == 1
    assert counter.events == ["e0", "e1", "e2", "e3", "e3", "e4", "e5", "e6", "e7"]
    assert [request.open.resume_token for request in counter.opened] == ["", "t-i2"]


async def test_events_wait_while_too_many_are_unanswered(server: ScriptedServer, client: Client):
    arrived: list[str] = []
    go = asyncio.Event()

    async def silent(requests: Requests, context: object) -> Responses:
        async def read() -> None:
            async for request in requests:
                if request.WhichOneof("kind") == "interaction":
                    arrived.append(request.interaction.event_id)

        reading = asyncio.create_task(read())
        await go.wait()
        for _ in range(3):
            yield SessionResponse(recorded=token(1))
        await reading

    server.play("Session", silent)
    async with client.session("ann", in_flight=3) as session:
        waiting = [asyncio.create_task(session.record(f"i{n}", "view", timeout=30)) for n in range(6)]
        await asyncio.sleep(0.3)
        assert len(arrived) == 3
        go.set()
        await asyncio.wait_for(asyncio.gather(*waiting[:3]), 10)
        for task in waiting[3:]:
            task.cancel()


async def test_an_answer_that_does_not_come_in_time_is_a_deadline_error(
    server: ScriptedServer, client: Client
):
    async def silent(requests: Requests, context: object) -> Responses:
        async for _ in requests:
            pass
        yield SessionResponse()

    server.play("Session", silent)
    async with client.session("ann") as session:
        with pytest.raises(DeadlineExceeded, match="e1"):
            await session.record("a", "view", event_id="e1", timeout=0.1)


async def test_leaving_cancels_the_call_and_fails_unanswered_events(server: ScriptedServer, client: Client):
    async def silent(requests: Requests, context: object) -> Responses:
        async for _ in requests:
            pass
        yield SessionResponse()

    server.play("Session", silent)
    async with client.session("ann") as session:
        waiting = asyncio.create_task(session.record("a", "view", timeout=30))
        while not server.seen:
            await asyncio.sleep(0.01)
    with pytest.raises(ClientClosed):
        await waiting
    assert await asyncio.wait_for(server.ended.get(), 10) == ("Session", "cancelled")
    assert [each async for each in session] == []


async def test_a_failed_session_raises_its_reason_everywhere(server: ScriptedServer, client: Client):
    async def closed(requests: Requests, context: grpc.aio.ServicerContext) -> Responses:
        await context.abort_with_status(
            rpc_status.to_status(status(grpc.StatusCode.PERMISSION_DENIED, "not for you"))
        )
        yield SessionResponse()

    server.play("Session", closed)
    async with client.session("ann") as session:
        for attempt in (session.record("a", "view"), anext(session), session.record("b", "view")):
            with pytest.raises(NotAllowed, match="not for you"):
                await asyncio.wait_for(attempt, 10)
        # More than one call if a write crossed the end of a call, which grpc reports as INTERNAL. But no more calls
        # follow.
        opened = len(server.seen)
        await asyncio.sleep(0.3)
        assert len(server.seen) == opened


async def test_a_session_outside_async_with_says_what_to_do(client: Client):
    with pytest.raises(RecstreamError, match="async with"):
        await client.session("ann").record("a", "view")


async def test_a_dropped_session_ends_its_call_and_warns(server: ScriptedServer, client: Client):
    async def parked(requests: Requests, context: object) -> Responses:
        yield Counter.frame(1, "start")
        await asyncio.Event().wait()

    server.play("Session", parked)
    session = await client.session("ann").__aenter__()
    await anext(session)
    with pytest.warns(ResourceWarning, match="session of 'ann' was dropped"):
        del session
    assert await asyncio.wait_for(server.ended.get(), 10) == ("Session", "cancelled")
