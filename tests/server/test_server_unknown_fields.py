"""The server counts requests with fields that it does not know, and answers them."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from recstream.v1 import interaction_service_pb2 as rpc
from recstream.v1 import interaction_service_pb2_grpc
from server.settings import ServerSettings
from server.transport import grpc_server, listen
from telemetry.unknown_fields import REQUEST, UNKNOWN_FIELDS

UNKNOWN = b"\xc2\x3e\x01x"  # Field 1000 with the text `x`.


def counted() -> float:
    return UNKNOWN_FIELDS.labels(REQUEST)._value.get()


class Echo(interaction_service_pb2_grpc.InteractionServiceServicer):
    """Answers each request at once."""

    async def Record(
        self, request: rpc.RecordRequest, context: grpc.aio.ServicerContext
    ) -> rpc.RecordResponse:
        return rpc.RecordResponse()

    async def RecordStream(
        self, requests: AsyncIterator[rpc.RecordStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[rpc.RecordStreamResponse]:
        async for _ in requests:
            yield rpc.RecordStreamResponse()


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    settings = ServerSettings(host="127.0.0.1", port=0)
    server = grpc_server(settings)
    interaction_service_pb2_grpc.add_InteractionServiceServicer_to_server(Echo(), server)
    port = listen(server, settings)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def test_requests_with_unknown_fields_are_counted_and_answered(channel: grpc.aio.Channel) -> None:
    record = channel.unary_unary("/recstream.v1.InteractionService/Record")
    before = counted()
    for value, more in ((b"", 0), (UNKNOWN, 1), (rpc.RecordRequest().SerializeToString(), 0), (UNKNOWN, 1)):
        assert await record(value, timeout=60) == b""
        assert counted() - before == more
        before += more


async def test_messages_of_streams_are_looked_through_too(channel: grpc.aio.Channel) -> None:
    before = counted()
    call = channel.stream_stream("/recstream.v1.InteractionService/RecordStream")(
        iter([b"", UNKNOWN, UNKNOWN])
    )
    assert [answer async for answer in call] == [b""] * 3
    assert counted() - before == 2


async def test_what_the_server_does_not_have_and_what_is_no_message_fail_as_ever(
    channel: grpc.aio.Channel,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/recstream.v1.InteractionService/Forget")(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/recstream.v1.InteractionService/Record")(b"\xff", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
