"""Many streams open at the same time."""

import asyncio

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from local.stack import Stack
from recstream.v1.recommendation_service_pb2 import StreamRecommendationsRequest
from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

STREAMS = 5_000
CONNECTIONS = 20


@pytest.mark.drill
@pytest.mark.timeout(240)
async def test_five_thousand_streams_are_served_or_told_when_to_return(stack: Stack) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(stack.address("server"), options) for _ in range(CONNECTIONS)]
    stubs = [RecommendationServiceStub(channel) for channel in channels]

    async def first(number: int) -> str:
        request = StreamRecommendationsRequest(user_id=f"crowd-{number}", count=10)
        call = stubs[number % CONNECTIONS].StreamRecommendations(request, timeout=120)
        try:
            answer = await call.read()
            return "served" if answer is not grpc.aio.EOF and answer.frame.sequence == 1 else "ended"
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                return error.code().name
            status = rpc_status.from_call(error)
            retry = error_details_pb2.RetryInfo()
            delays = [detail.Unpack(retry) for detail in status.details] if status else []
            return (
                "refused"
                if any(delays) and retry.retry_delay.ToMilliseconds() > 0
                else "refused without delay"
            )
        finally:
            call.cancel()

    outcomes = await asyncio.gather(*(first(number) for number in range(STREAMS)))
    await asyncio.gather(*(channel.close() for channel in channels))
    counts = {outcome: outcomes.count(outcome) for outcome in set(outcomes)}
    assert set(counts) <= {"served", "refused"}, counts
    assert counts.get("served", 0) > 0, counts
