"""Many streams, and clients that do not read their streams."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from recstream.v1 import recommendation_service_pb2 as rpc
from server.requests.status import DETAILS_KEY, unpack
from tests.server.streams import ids, next_frame, open_stream, record
from tests.server.world import eventually, world


async def test_streams_beyond_the_users_limit_are_refused_with_a_delay(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, max_streams_per_user=2) as around:
        calls = [open_stream(around, "ann") for _ in range(2)]
        for call in calls:
            await next_frame(call)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await open_stream(around, "ann").read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())[DETAILS_KEY])
        assert unpack(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() >= 1000
        assert ids(await next_frame(open_stream(around, "bob")))


async def test_a_thousand_streams_at_once_are_served_or_refused_clearly(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, max_streams=900) as around:
        channels = [
            grpc.aio.insecure_channel(around.target, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(10)
        ]

        async def one(i: int) -> str:
            method = channels[i % 10].unary_stream(
                "/recstream.v1.RecommendationService/StreamRecommendations",
                request_serializer=rpc.StreamRecommendationsRequest.SerializeToString,
                response_deserializer=rpc.StreamRecommendationsResponse.FromString,
            )
            call = method(rpc.StreamRecommendationsRequest(user_id=f"user-{i}", count=10))
            calls.append(call)
            try:
                frame = (await asyncio.wait_for(call.read(), 60)).frame
            except grpc.aio.AioRpcError as error:
                status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
                delay = unpack(status, error_details_pb2.RetryInfo)
                return f"{error.code().name} {'with' if delay else 'without'} delay"
            return "served" if len(ids(frame)) == 10 else "short"

        calls: list = []
        results = await asyncio.gather(*(one(i) for i in range(1000)))
        assert results.count("served") == 900 and results.count("RESOURCE_EXHAUSTED with delay") == 100
        for call in calls:
            call.cancel()
        await eventually(lambda: around.server.admission.streams == 0)
        for channel in channels:
            await channel.close()


async def test_a_client_that_stops_reading_delays_no_other_and_is_disconnected(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, slow_consumer_seconds=1.5, reread_seconds=0.2) as around:
        channel = grpc.aio.insecure_channel(
            around.target,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", 1024),
            ],
        )
        method = channel.unary_stream(
            "/recstream.v1.RecommendationService/StreamRecommendations",
            request_serializer=rpc.StreamRecommendationsRequest.SerializeToString,
            response_deserializer=rpc.StreamRecommendationsResponse.FromString,
        )
        stuck = method(rpc.StreamRecommendationsRequest(user_id="ann", count=90))
        await stuck.read()
        reader = open_stream(around, "ann", count=5)
        await next_frame(reader)
        named = 0
        for _ in range(400):
            await record(around, "ann", "item-1", "view")
            named += len((await next_frame(reader)).caused_by)
            if around.server.admission.streams == 1:
                break
        else:
            await eventually(lambda: around.server.admission.streams == 1)
        assert named > 0
        await channel.close()
