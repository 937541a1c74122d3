"""The TypeScript client, compiled in strict mode and run by node against the scripted server."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from recstream.client import RankedItem
from recstream.v1.filter_pb2 import TextFilter
from recstream.v1.frame_pb2 import Delta, Frame, GoAway, Heartbeat, PlacedItem
from recstream.v1.recommendation_service_pb2 import RankResponse
from tests.client.scripted_server import (
    RecommendResponse,
    RecordResponse,
    ScriptedServer,
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

STREAM = "StreamRecommendations"
DRIVER = Path(__file__).parent / "typescript_driver.mjs"
GONE = status(grpc.StatusCode.UNAVAILABLE, "gone")


async def play(compiled: Path, server: ScriptedServer, scene: str) -> Any:
    """Returns what the driver saw. The driver must end by itself, because the client must not keep node alive."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(DRIVER),
        str(compiled),
        server.target,
        scene,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_recommend(compiled: Path, server: ScriptedServer):
    server.play("Recommend", answering(RecommendResponse(slate=slate("a", "b"))))
    assert await play(compiled, server, "recommend") == {"ids": ["a", "b"], "tier": 1, "revision": "7"}
    [request] = server.requests("Recommend")
    assert (request.user_id, request.count) == ("ann", 2)
    assert request.filter.exclude.text == TextFilter(field="category", values=["Comedy"])
    assert (list(request.after), list(request.after_event_ids)) == (["t1"], ["e1"])
    assert server.seen[0].metadata["authorization"] == "Bearer x"


async def test_rank(compiled: Path, server: ScriptedServer):
    server.play("Rank", answering(RankResponse(slate=slate("b", "a"), unknown_item_ids=["z"])))
    assert await play(compiled, server, "rank") == {"ids": ["b", "a"], "unknown": ["z"]}
    [request] = server.requests("Rank")
    assert (request.user_id, list(request.item_ids), request.surface) == ("ann", ["a", "z", "b"], "search")


async def test_a_list_shows_fields_of_items(compiled: Path, server: ScriptedServer):
    wide = slate("a", "b")
    wide.items[0].item.title = "A"
    server.play("Recommend", answering(RecommendResponse(slate=wide)))
    assert await play(compiled, server, "shown") == [
        {"title": "A", "source": "nearest"},
        {"source": "nearest"},
    ]
    [request] = server.requests("Recommend")
    assert list(request.view.item_fields) == ["title", "attributes.brand"] and request.view.model_outputs


async def test_the_golden_files_are_parsed_and_serialised_to_the_same_bytes(
    compiled: Path, server: ScriptedServer
):
    said = await play(compiled, server, "golden")
    assert said["differing"] == []
    assert said["count"] > 40


async def test_record_retries_with_the_same_event(compiled: Path, server: ScriptedServer):
    server.play(
        "Record",
        failing(grpc.StatusCode.UNAVAILABLE, "soon", retry_info(0.05)),
        answering(RecordResponse(token=token(7))),
    )
    said = await play(compiled, server, "record")
    assert said == {"token": token(7)}
    events = [request.interaction for request in server.requests("Record")]
    assert events[0] == events[1]
    assert len(events[0].event_id) == 36
    assert events[0].event_time.seconds > 1_600_000_000
    assert events[0].value == 0.5


async def test_impressions_and_undo_events_are_recorded(compiled: Path, server: ScriptedServer):
    server.play("Record", *(answering(RecordResponse(token=token(n))) for n in range(2)))
    await play(compiled, server, "impression")
    seen, undone = (request.interaction for request in server.requests("Record"))
    assert (seen.slate_id, list(seen.impression.item_ids), seen.WhichOneof("kind")) == (
        "s-1",
        ["a", "b"],
        "impression",
    )
    assert undone.undo.event_id == "e-1" and undone.event_time.ToMilliseconds() == 1_793_500_000_123


async def test_a_refused_event_names_its_fields(compiled: Path, server: ScriptedServer):
    details = bad_request(interaction__user_id="must not be blank")
    server.play("Record", failing(grpc.StatusCode.INVALID_ARGUMENT, "refused", details))
    violation = {"field": "interaction.user_id", "description": "must not be blank"}
    assert await play(compiled, server, "refused") == {
        "code": 3,
        "message": "refused",
        "violations": [violation],
    }


async def test_the_client_does_not_wait_for_a_delay_beyond_the_deadline(
    compiled: Path, server: ScriptedServer
):
    server.play("Recommend", failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_info(30.5)))
    assert await play(compiled, server, "full") == {"code": 8, "retryAfterMs": 30_500}
    assert len(server.seen) == 1


async def test_a_stream_reopens_resumes_and_cancels_its_call(compiled: Path, server: ScriptedServer):
    leaving = Frame(
        sequence=2, go_away=GoAway(reconnect_after=Duration(nanos=200_000_000)), resume_token="t2-new"
    )
    server.play(
        STREAM,
        streaming(
            snapshot(1, "a", token="t1", causes=("e1",)), Frame(sequence=2, heartbeat=Heartbeat()), error=GONE
        ),
        streaming(error=status(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_info(0.1))),
        streaming(snapshot(1, "b", token="t2"), leaving, park=True),
        streaming(snapshot(1, "c", token="t3"), park=True),
    )
    said = await play(compiled, server, "stream")
    assert [each["ids"] for each in said["lists"]] == [["a"], ["b"], ["c"]]
    assert said["lists"][0]["causes"] == ["e1"]
    assert [request.resume_token for request in server.requests(STREAM)] == ["", "t1", "t1", "t2-new"]
    assert [pause["code"] for pause in said["pauses"]] == [14, 8, 14]
    assert said["pauses"][1]["delayMs"] >= 100
    assert said["pauses"][2]["delayMs"] >= 200
    ends = [await asyncio.wait_for(server.ended.get(), 10) for _ in range(4)]
    assert ends[-1] == (STREAM, "cancelled")


async def test_deltas_are_applied_and_a_bad_one_asks_for_a_whole_list(compiled: Path, server: ScriptedServer):
    placed = [PlacedItem(position=0, item=RankedItem(item_id="c"))]
    server.play(
        STREAM,
        streaming(
            snapshot(1, "a", "b", token="t1"),
            Frame(
                sequence=2, delta=Delta(placed=placed, removed_item_ids=["b"], length=2), resume_token="t2"
            ),
            Frame(sequence=3, delta=Delta(length=9), resume_token="t3"),
            park=True,
        ),
        streaming(snapshot(1, "d", token="t4"), park=True),
    )
    said = await play(compiled, server, "deltas")
    assert [each["ids"] for each in said["lists"]] == [["a", "b"], ["c", "a"], ["d"]]
    assert [request.resume_token for request in server.requests(STREAM)] == ["", ""]


async def test_silence_opens_the_stream_again(compiled: Path, server: ScriptedServer):
    server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), park=True),
        streaming(snapshot(1, "b", token="t2"), park=True),
    )
    said = await play(compiled, server, "idle")
    assert [each["ids"] for each in said["lists"]] == [["a"], ["b"]]
    assert server.requests(STREAM)[1].resume_token == "t1"


async def test_an_invalid_stream_is_not_opened_again(compiled: Path, server: ScriptedServer):
    refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "no", bad_request(count="must be 1 to 500"))
    server.play(STREAM, streaming(error=refusal))
    violation = {"field": "count", "description": "must be 1 to 500"}
    assert await play(compiled, server, "invalid") == {"code": 3, "violations": [violation]}
    assert len(server.seen) == 1


async def test_an_abort_signal_ends_the_stream(compiled: Path, server: ScriptedServer):
    server.play(STREAM, streaming(snapshot(1, "a"), park=True))
    said = await play(compiled, server, "abort")
    assert [each["ids"] for each in said["lists"]] == [["a"]]
    assert said["pauses"] == []
    assert await asyncio.wait_for(server.ended.get(), 10) == (STREAM, "cancelled")
