"""Tests the client and the generated code against a server in the same process. The oldest and the newest runtimes
run it, without pytest. It prints one line of JSON at the end."""

import asyncio
import json
import sys
from pathlib import Path

import google.protobuf
import grpc
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from recstream.client import Backoff, Client, InvalidRequest, attribute_between, interaction, sync
from tests.client.scripted_server import (
    RecommendResponse,
    RecordResponse,
    RecordResult,
    RecordStreamResponse,
    ScriptedServer,
    SessionResponse,
    answering,
    bad_request,
    failing,
    retry_info,
    slate,
    snapshot,
    status,
    streaming,
    token,
)


async def count(requests, context):
    """Answers events with their number."""
    place = 0
    async for request in requests:
        if hasattr(request, "open") and request.WhichOneof("kind") == "open":
            yield SessionResponse(frame=snapshot(1, "a"))
            continue
        place += 1
        if hasattr(request, "open"):
            yield SessionResponse(recorded=token(place))
        else:
            yield RecordStreamResponse(result=RecordResult(token=token(place)))


def block(target: str) -> None:
    """Makes calls with the synchronous client."""
    with sync.Client(target) as client:
        assert client.recommend("ann").item_ids == ("a", "b")
        assert next(iter(client.stream("ann"))).item_ids == ("b",)
        with client.session("ann") as session:
            assert next(session).item_ids == ("a",)
            assert session.record("a", "view") == token(1)
        assert len(list(client.record_many(interaction("ann", "a", "view") for _ in range(20)))) == 20


async def main() -> None:
    """Makes every kind of call once, with a retry, a resume, and an error with details."""
    server = ScriptedServer()
    await server.start()
    server.play("Recommend", answering(RecommendResponse(slate=slate("a", "b"), includes_events=True)))
    server.play(
        "Record",
        failing(grpc.StatusCode.UNAVAILABLE, "soon", retry_info(0.01)),
        answering(RecordResponse(token=token(7))),
        failing(grpc.StatusCode.INVALID_ARGUMENT, "no", bad_request(interaction__action="is unknown")),
    )
    server.play(
        "StreamRecommendations",
        streaming(snapshot(1, "a", token="t1"), error=status(grpc.StatusCode.UNAVAILABLE, "gone")),
        streaming(snapshot(1, "b", token="t2"), park=True),
    )
    server.play("Session", count)
    server.play("RecordStream", count)
    async with Client(server.target, backoff=Backoff(0.01, 0.05)) as client:
        films = await client.recommend("ann", filter=attribute_between("year", min=1990), after=[token(1)])
        assert films.item_ids == ("a", "b")
        assert await client.record("ann", "a", "view", value=0.5) == token(7)
        [refused] = await asyncio.gather(client.record("ann", "a", "nonsense"), return_exceptions=True)
        assert isinstance(refused, InvalidRequest)
        assert refused.violations[0].field == "interaction.action"
        lists = []
        async for each in client.stream("ann"):
            lists.append(each.item_ids)
            if len(lists) == 2:
                break
        assert lists == [("a",), ("b",)]
        assert server.requests("StreamRecommendations")[1].resume_token == "t1"
        assert (await asyncio.wait_for(server.ended.get(), 10))[0] == "StreamRecommendations"
        async with client.session("ann") as session:
            assert (await anext(session)).item_ids == ("a",)
            assert await session.record("a", "view") == token(1)
        events = [interaction("ann", "a", "view") for _ in range(20)]
        tokens = [each.token async for each in client.record_many(events)]
        assert tokens == [token(n) for n in range(1, 21)]
    await asyncio.to_thread(block, server.target)
    await server.stop()
    golden = sorted((Path(__file__).parent / "golden").glob("*.binpb"))
    for wire in golden:
        kind = GetMessageClass(Default().FindMessageTypeByName(f"recstream.v1.{wire.name.split('.')[0]}"))
        assert (
            kind.FromString(wire.read_bytes()).SerializeToString(deterministic=True) == wire.read_bytes()
        ), wire
    versions = {"grpcio": grpc.__version__, "protobuf": google.protobuf.__version__, "golden": len(golden)}
    print(json.dumps({**versions, "python": sys.version.split()[0]}))


if __name__ == "__main__":
    asyncio.run(main())
