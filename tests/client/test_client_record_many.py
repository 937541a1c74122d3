"""Many events are recorded over one stream."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from recstream.client import Client, Interaction, InvalidRequest, NotAllowed, Unavailable, interaction
from recstream.v1.interaction_service_pb2 import RecordStreamRequest
from tests.client.scripted_server import (
    RecordResult,
    RecordStreamResponse,
    ScriptedServer,
    bad_request,
    status,
    token,
)

Requests = AsyncIterator[RecordStreamRequest]
Responses = AsyncIterator[RecordStreamResponse]


class Log:
    """The server's side: an offset for each new event id. It breaks the stream at some events."""

    def __init__(self, *breaks: int) -> None:
        self.offsets: dict[str, int] = {}
        self.received = 0
        self._breaks = set(breaks)

    async def __call__(self, requests: Requests, context: grpc.aio.ServicerContext) -> Responses:
        async for request in requests:
            event = request.interaction
            self.received += 1
            if not event.user_id:
                details = bad_request(interaction__user_id="must not be blank")
                refused = status(grpc.StatusCode.INVALID_ARGUMENT, "refused", details)
                yield RecordStreamResponse(result=RecordResult(refused=refused))
                continue
            offset = self.offsets.setdefault(event.event_id, len(self.offsets))
            if self.received in self._breaks:  # Kafka has the event, but the answer is lost.
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
            yield RecordStreamResponse(result=RecordResult(token=token(offset)))


def events(count: int) -> list[Interaction]:
    return [interaction("ann", f"i{n}", "view", event_id=f"e{n}") for n in range(count)]


async def test_each_event_has_its_outcome_in_order(server: ScriptedServer, client: Client):
    server.play("RecordStream", Log())
    outcomes = [each async for each in client.record_many(events(500), in_flight=16)]
    assert [each.interaction.event_id for each in outcomes] == [f"e{n}" for n in range(500)]
    assert [each.token for each in outcomes] == [token(n) for n in range(500)]


async def test_breaks_lose_no_event_and_count_none_twice(server: ScriptedServer, client: Client):
    log = Log(10, 40, 41, 170)
    server.play("RecordStream", log)
    outcomes = [each async for each in client.record_many(events(300))]
    assert [each.token for each in outcomes] == [token(n) for n in range(300)]
    assert len(log.offsets) == 300 < log.received


async def test_a_refused_event_does_not_stop_the_stream(server: ScriptedServer, client: Client):
    server.play("RecordStream", Log())
    given = events(3)
    given[1].user_id = ""
    outcomes = [each async for each in client.record_many(given)]
    assert [each.token for each in outcomes] == [token(0), None, token(1)]
    assert isinstance(outcomes[1].error, InvalidRequest)


async def test_events_without_an_id_get_one_and_the_callers_events_do_not_change(
    server: ScriptedServer, client: Client
):
    server.play("RecordStream", Log())
    given = [interaction("ann", "a", "view", event_id="") for _ in range(2)]
    outcomes = [each async for each in client.record_many(given)]
    assert len({each.interaction.event_id for each in outcomes}) == 2
    assert all(each.interaction.event_id for each in outcomes)
    assert [each.event_id for each in given] == ["", ""]


async def test_a_source_is_read_only_up_to_the_bound(server: ScriptedServer, client: Client):
    go = asyncio.Event()
    log = Log()

    async def held(requests: Requests, context: grpc.aio.ServicerContext) -> Responses:
        await go.wait()
        async for response in log(requests, context):
            yield response

    server.play("RecordStream", held)
    read = 0

    async def source() -> AsyncIterator[Interaction]:
        nonlocal read
        for event in events(1_000):
            read += 1
            yield event

    outcomes = client.record_many(source(), in_flight=8)
    first = asyncio.create_task(anext(outcomes))
    await asyncio.sleep(0.3)
    assert read <= 10
    go.set()
    await first
    assert len([each async for each in outcomes]) == 999


async def test_leaving_the_loop_cancels_the_call(server: ScriptedServer, client: Client):
    server.play("RecordStream", Log())
    async for _ in client.record_many(events(1_000), in_flight=4):
        break
    assert await asyncio.wait_for(server.ended.get(), 10) == ("RecordStream", "cancelled")


async def test_an_error_of_the_source_is_raised(server: ScriptedServer, client: Client):
    server.play("RecordStream", Log())

    def source():
        yield from events(3)
        raise LookupError("the file ends here")

    outcomes = client.record_many(source())
    assert [(await anext(outcomes)).token for _ in range(3)] == [token(0), token(1), token(2)]
    with pytest.raises(LookupError):
        await anext(outcomes)


async def test_the_client_gives_up_on_a_server_that_stays_away(server: ScriptedServer, client: Client):
    await server.stop()
    with pytest.raises(Unavailable):
        async for _ in client.record_many(events(3), give_up_after=0.3):
            pass


async def test_an_error_that_ends_the_stream_is_raised_and_not_assigned_to_an_event(
    server: ScriptedServer, client: Client
):
    async def closed(requests: Requests, context: grpc.aio.ServicerContext) -> Responses:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        yield RecordStreamResponse()

    server.play("RecordStream", closed)
    with pytest.raises(NotAllowed, match="who are you"):
        async for _ in client.record_many(events(3)):
            pass


async def test_recording_no_events_is_no_error(server: ScriptedServer, client: Client):
    server.play("RecordStream", Log())
    assert [each async for each in client.record_many([])] == []


async def test_closing_the_outcomes_ends_everything_at_once(server: ScriptedServer, client: Client):
    server.play("RecordStream", Log())
    outcomes = client.record_many(events(1_000), in_flight=4)
    await anext(outcomes)
    await asyncio.sleep(0.1)  # as many events are answered as may wait for the reader
    await asyncio.wait_for(outcomes.aclose(), 10)
    assert await server.end() == "cancelled"
    assert not [task for task in asyncio.all_tasks() if "recstream" in task.get_name()]
