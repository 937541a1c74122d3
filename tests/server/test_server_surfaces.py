"""Surfaces that change while servers run: calls, open streams, records of lists, and a second server."""

import asyncio

import grpc
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from prometheus_client import REGISTRY

from ranking.settings import RankingSettings, Surfaces
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1 import frame_pb2, slate_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from rollout.surfaces import SurfacesPublisher
from server.app import Server
from tests.server.streams import next_frame, open_stream, until
from tests.server.world import SmallModel, World, eventually, world
from topics.producer import start_producer

pytestmark = pytest.mark.usefixtures("collected")


def pin(item_id: str) -> dict[str, object]:
    return {"rules": {"pins": [{"item_id": item_id, "position": 0}]}}


async def apply(around: World, **surfaces: object) -> int:
    """Applies surfaces, and waits until this world's server has them."""
    async with asyncio.timeout(60), SurfacesPublisher(around.kafka) as publisher:
        given = Surfaces.model_validate({"surfaces": surfaces})
        version = (await publisher.apply(given, applied_by="test")).version
    await eventually(lambda: around.server.surfaces().version == version)
    return version


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    # Only a change of the surfaces or a heartbeat can wake a stream.
    ranking = RankingSettings.model_validate({"surfaces": {"home": pin("item-90")}})
    async with world(kafka, valkey, prefix, ranking=ranking, refresh_seconds=0) as around:
        yield around


async def first(around: World, surface: str) -> str:
    answer = await around.recommendations.Recommend(
        rpc.RecommendRequest(user_id="ann", count=10, surface=surface), timeout=20
    )
    return answer.slate.items[0].item_id


def wakeups() -> float:
    return REGISTRY.get_sample_value("recstream_server_stream_wakeups_total", {"cause": "surfaces"}) or 0.0


def starts_with(item_id: str):
    def claim(frame: frame_pb2.Frame) -> bool:
        top = frame.snapshot.slate.items[0]
        return top.item_id == item_id and top.reason.kind == slate_pb2.REASON_KIND_PINNED

    return claim


async def test_a_version_reaches_calls_and_open_streams_and_is_named_by_their_records(around: World) -> None:
    home, other = open_stream(around, "ann", surface="home"), open_stream(around, "bob", surface="evaluation")
    assert starts_with("item-90")(await next_frame(home))
    await next_frame(other)
    before = wakeups()
    version = await apply(around, home=pin("item-80"), shop=pin("item-70"))
    changed = await until(home, starts_with("item-80"))
    assert (await first(around, "home"), await first(around, "shop")) == ("item-80", "item-70")
    assert wakeups() == before + 1  # Nothing has changed for the stream of the other surface.
    assert REGISTRY.get_sample_value("recstream_surfaces_version") == version
    # The stream of a surface that is removed goes on with `default`, which pins nothing.
    await apply(around, shop=pin("item-70"))
    await until(home, lambda frame: not starts_with("item-80")(frame))
    with pytest.raises(
        grpc.aio.AioRpcError, match="'home', which is not a surface: there are default, .*shop"
    ):
        await first(around, "home")
    await eventually(lambda: not [labels for labels in streams_of() if labels["surface"] == "home"])
    records = await slates(around, changed.snapshot.slate.slate_id)
    assert {record.slate.slate_id: record.surfaces_version for record in records}[
        changed.snapshot.slate.slate_id
    ] == version
    for call in (home, other):
        call.cancel()


def streams_of() -> list[dict[str, str]]:
    return [
        sample.labels
        for family in REGISTRY.collect()
        if family.name == "recstream_server_streams_by_version"
        for sample in family.samples
    ]


async def slates(around: World, slate_id: str) -> list[SlateRecord]:
    """The records of sent lists, up to this one."""
    consumer = AIOKafkaConsumer(
        around.kafka.topics.slates, auto_offset_reset="earliest", **around.kafka.client_options()
    )
    await consumer.start()
    found: list[SlateRecord] = []
    try:
        async with asyncio.timeout(60):
            while slate_id not in [each.slate.slate_id for each in found]:
                for part in (await consumer.getmany(timeout_ms=200)).values():
                    found += [SlateRecord.FromString(record.value) for record in part]
    finally:
        await consumer.stop()
    return found


async def test_a_second_server_is_ready_with_the_version_in_force_and_a_bad_record_stays_out(
    around: World,
) -> None:
    version = await apply(around, home=pin("item-80"))
    producer = await start_producer(around.kafka)
    bad = f"{version + 1}".encode()
    await producer.send_and_wait(around.kafka.topics.surfaces, b"\xff", key=bad)
    await producer.stop()
    await eventually(lambda: REGISTRY.get_sample_value("recstream_surfaces_refused") == 1)
    second = Server(around.server.config, SmallModel())
    await second.start()
    try:
        assert second.surfaces().version == 0
        await eventually(lambda: not second.health.not_ready, 60)
        assert second.surfaces().version == version  # It never was ready with other surfaces.
        assert (await first(around, "home")) == "item-80"
        later = await apply(around, home=pin("item-60"))
        assert later == version + 2
        await eventually(lambda: second.surfaces().version == later)
        assert REGISTRY.get_sample_value("recstream_surfaces_refused") == 0
    finally:
        await second.close()


async def test_a_server_that_has_not_read_the_surfaces_yet_refuses_no_name(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        around.server.catalog._ready.clear()
        call = open_stream(around, "ann", surface="home")
        session = around.recommendations.Session(
            iter([rpc.SessionRequest(open={"user_id": "a", "surface": "home"})])
        )
        for answer in (call.read(), session.read(), first(around, "home")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await answer
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
