"""Helpers to open and read streams of a real server."""

import asyncio

import grpc

from recstream.v1 import catalog_service_pb2, frame_pb2, interaction_service_pb2, item_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from tests.server.world import World, event


async def record(around: World, user_id: str, item_id: str, action: str = "like", **fields):
    answer = await around.interactions.Record(
        interaction_service_pb2.RecordRequest(interaction=event(user_id, item_id, action, **fields)),
        timeout=20,
    )
    return answer.token


def open_stream(around: World, user_id: str, count: int = 10, timeout: float | None = None, **fields):
    request = rpc.StreamRecommendationsRequest(user_id=user_id, count=count, **fields)
    return around.recommendations.StreamRecommendations(request, timeout=timeout)


async def next_frame(call, *, beats: bool = False) -> frame_pb2.Frame:
    while True:
        answer = await asyncio.wait_for(call.read(), 30)
        assert answer is not grpc.aio.EOF, await call.code()
        if beats or not answer.frame.HasField("heartbeat"):
            return answer.frame


async def until(call, claim, seconds: float = 30) -> frame_pb2.Frame:
    async with asyncio.timeout(seconds):
        while True:
            frame = await next_frame(call)
            if claim(frame):
                return frame


def ids(frame: frame_pb2.Frame) -> list[str]:
    return [item.item_id for item in frame.snapshot.slate.items]


async def put(around: World, *items: item_pb2.Item) -> None:
    await around.catalog.PutItems(catalog_service_pb2.PutItemsRequest(items=items), timeout=20)
