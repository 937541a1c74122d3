"""As of when a server answers: now, or a moment that the call names where the settings let it."""

from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from recstream.client import Client, FailedPrecondition, InvalidRequest
from recstream.v1 import catalog_service_pb2, item_pb2, profile_service_pb2
from recstream.v1 import interaction_service_pb2 as recording
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import AsOfDisabled
from server.errors import InvalidRequest as Refused
from server.requests import moment
from server.requests.moment import AS_OF
from server.requests.status import DETAILS_KEY, unpack
from server.settings import ServerSettings
from tests.server.world import World, event, eventually, now_ms, world

DAY_MS = 86_400_000


def as_of(time_ms: int) -> grpc.aio.Metadata:
    return grpc.aio.Metadata((AS_OF, str(time_ms)))


@dataclass
class Call:
    """As much of a call as says what its metadata are."""

    metadata: tuple[tuple[str, str | bytes], ...]

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self.metadata


def named(*moments: str, enabled: bool = True) -> int | None:
    call = Call((("user-agent", "test"), *((AS_OF, text) for text in moments)))
    return moment.as_of(call, ServerSettings(as_of=enabled))  # type: ignore[arg-type]


def test_a_call_that_names_no_moment_is_of_now() -> None:
    assert named() is None and named(enabled=False) is None


@pytest.mark.parametrize("text", ["0", "880000000000", "1795612150123", "1" + "0" * 14])
def test_a_moment_is_unix_milliseconds(text: str) -> None:
    assert named(text) == int(text)
    with pytest.raises(AsOfDisabled, match=r"server\.as_of"):
        named(text, enabled=False)


@pytest.mark.parametrize("text", ["", "now", "-5", "1e12", "1.5", " 17", "١٢", "9" * 15, "1" * 5000])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        named(text)
    assert [violation.field for violation in caught.value.violations] == [AS_OF] and len(
        str(caught.value)
    ) < 200


def test_two_moments_are_none() -> None:
    with pytest.raises(Refused, match="2 times"):
        named("17", "18")


@pytest_asyncio.fixture
async def measuring(kafka, valkey, prefix):
    """A server that answers as of moments."""
    async with world(kafka, valkey, prefix, as_of=True) as around:
        yield around


async def test_a_server_that_serves_refuses_every_call_that_names_a_moment(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        calls = [
            lambda metadata: around.recommendations.Recommend(
                rpc.RecommendRequest(user_id="ann"), timeout=10, metadata=metadata
            ),
            lambda metadata: around.recommendations.SimilarItems(
                rpc.SimilarItemsRequest(item_id="item-1"), timeout=10, metadata=metadata
            ),
            lambda metadata: around.profiles.GetProfile(
                profile_service_pb2.GetProfileRequest(user_id="ann"), timeout=10, metadata=metadata
            ),
            lambda metadata: around.catalog.GetItem(
                catalog_service_pb2.GetItemRequest(item_id="item-1"), timeout=10, metadata=metadata
            ),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(as_of(now_ms()))
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "server.as_of" in (caught.value.details() or "")
            details = dict(caught.value.trailing_metadata() or ())[DETAILS_KEY]
            info = unpack(status_pb2.Status.FromString(details), error_details_pb2.ErrorInfo)
            assert info.reason == "AS_OF_DISABLED"
            await call(None)
        async with Client(around.target, metadata={AS_OF: "17"}) as client:
            with pytest.raises(FailedPrecondition):
                await client.recommend("ann")


async def test_figures_are_those_of_the_moment(measuring: World) -> None:
    request = catalog_service_pb2.GetItemRequest(item_id="item-1")
    now = await measuring.catalog.GetItem(request, timeout=10)
    later = await measuring.catalog.GetItem(request, timeout=10, metadata=as_of(now_ms() + 3 * DAY_MS))
    assert later.popularity == now.popularity
    assert later.trend == pytest.approx(now.trend / 8, rel=0.01)
    ends = await measuring.interactions.Record(
        recording.RecordRequest(interaction=event("ann", "item-3", "click")), timeout=10
    )
    asked = profile_service_pb2.GetProfileRequest(user_id="ann", after=[ends.token])
    for days, share in ((0, 1.0), (7, 0.5)):
        found = await measuring.profiles.GetProfile(
            asked, timeout=10, metadata=as_of(now_ms() + days * DAY_MS)
        )
        assert found.includes_events and found.profile.recent["click"] == pytest.approx(share, rel=0.01)


async def test_what_can_be_had_is_what_could_be_had_at_the_moment(measuring: World) -> None:
    ended = now_ms() - DAY_MS
    await measuring.catalog.PutItems(
        catalog_service_pb2.PutItemsRequest(items=[item_pb2.Item(item_id="past", expires_at_ms=ended)]),
        timeout=10,
    )
    await eventually(lambda: measuring.server.catalog.row("past") is not None)
    request = rpc.RecommendRequest(user_id="nobody", count=200, surface="evaluation")
    for time_ms, there in ((ended - 1, True), (ended, False), (now_ms(), False)):
        answer = await measuring.recommendations.Recommend(request, timeout=10, metadata=as_of(time_ms))
        assert ("past" in {item.item_id for item in answer.slate.items}) is there, time_ms
    answer = await measuring.recommendations.Recommend(request, timeout=10)
    assert "past" not in {item.item_id for item in answer.slate.items}


async def test_what_is_no_moment_is_refused_by_its_key(measuring: World) -> None:
    async with Client(measuring.target, metadata={AS_OF: "now"}) as client:
        with pytest.raises(InvalidRequest) as caught:
            await client.recommend("ann")
        assert [violation.field for violation in caught.value.violations] == [AS_OF]


async def test_a_stream_is_always_of_now(measuring: World) -> None:
    opening = rpc.StreamRecommendationsRequest(user_id="ann", count=5)
    for call in (
        measuring.recommendations.StreamRecommendations(opening, timeout=10, metadata=as_of(now_ms())),
        measuring.recommendations.Session(
            iter([rpc.SessionRequest(open=opening)]), timeout=10, metadata=as_of(now_ms())
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert AS_OF in (caught.value.details() or "")
