"""`Rank` orders the items that the caller names, and the surface of a request must exist."""

import asyncio
from collections.abc import Sequence

import grpc
import numpy as np
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from google.rpc import error_details_pb2, status_pb2

from ranking.query import ListRequest
from ranking.settings import RankingSettings, SurfaceSettings
from ranking.slate.ranked import Ranked
from recstream.storage.v1 import slate_pb2 as stored_slate_pb2
from recstream.v1 import catalog_service_pb2, interaction_service_pb2, slate_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server import metrics
from server.requests.status import DETAILS_KEY, unpack
from tests.server.world import ITEMS, World, event, eventually, world
from topics.layout import MAX_RECORD_BYTES


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    ranking = RankingSettings(surfaces={"shop": SurfaceSettings(category_share=0.1)})
    async with world(kafka, valkey, prefix, ranking=ranking) as around:
        yield around


async def status_of(call) -> status_pb2.Status:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata() or ()).get(DETAILS_KEY, b"")
    return status_pb2.Status.FromString(details)


async def like(around: World, user_id: str, *item_ids: str) -> list:
    requests = [
        interaction_service_pb2.RecordRequest(interaction=event(user_id, item_id)) for item_id in item_ids
    ]
    return [(await around.interactions.Record(request, timeout=10)).token for request in requests]


async def rank(around: World, user_id: str, item_ids: Sequence[str], **fields) -> rpc.RankResponse:
    request = rpc.RankRequest(user_id=user_id, item_ids=item_ids, **fields)
    return await around.recommendations.Rank(request, timeout=10)


def ids(slate: slate_pb2.Slate) -> list[str]:
    return [item.item_id for item in slate.items]


async def slates(around: World, count: int) -> list[stored_slate_pb2.SlateRecord]:
    consumer = AIOKafkaConsumer(
        around.kafka.topics.slates, auto_offset_reset="earliest", **around.kafka.client_options()
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return [
                stored_slate_pb2.SlateRecord.FromString((await consumer.getone()).value) for _ in range(count)
            ]
    finally:
        await consumer.stop()


async def test_the_order_is_that_of_recommend_on_a_surface_without_caps(around: World) -> None:
    after = await like(around, "ann", "item-3", "item-40")
    for surface in ("shop", ""):
        answer = await around.recommendations.Recommend(
            rpc.RecommendRequest(user_id="ann", count=60, surface="evaluation", after=after), timeout=10
        )
        listed = ids(answer.slate)
        assert answer.slate.tier == slate_pb2.TIER_RANKED and len(listed) == 60
        ranked = await rank(around, "ann", sorted(listed), surface=surface, after=after)
        assert ranked.includes_events and ranked.slate.tier == slate_pb2.TIER_RANKED
        assert ids(ranked.slate) == listed
        assert [item.score for item in ranked.slate.items] == pytest.approx(
            [item.score for item in answer.slate.items]
        )
        assert not ranked.unknown_item_ids


async def test_consumed_and_withdrawn_items_are_ranked_and_unknown_ones_named_in_order(around: World) -> None:
    after = await like(around, "ann", "item-3")
    await around.catalog.WithdrawItems(
        catalog_service_pb2.WithdrawItemsRequest(item_ids=["item-5"]), timeout=10
    )
    row = around.server.catalog.row("item-5")
    await eventually(lambda: not around.server.catalog.eligible(0)[row])
    asked = ["z", "item-9", "item-5", "a", "item-3"]
    whole = slate_pb2.ListView(model_outputs=True)
    answer = await rank(around, "ann", asked, after=after, experiments={"order": "b"}, view=whole)
    assert sorted(ids(answer.slate)) == ["item-3", "item-5", "item-9"]
    assert list(answer.unknown_item_ids) == ["z", "a"]
    assert answer.slate.slate_id and {item.source for item in answer.slate.items} == {"given"}
    [record] = await slates(around, 1)
    assert (record.user_id, record.surface, record.experiments) == ("ann", "default", {"order": "b"})
    # The record has the model's outputs beside the slate.
    assert record.actions and len(record.probabilities) == len(record.actions) * len(answer.slate.items)
    for shown in answer.slate.items:
        shown.ClearField("probabilities")
        shown.ClearField("predicted_rating")
    assert record.slate == answer.slate


async def test_a_thousand_items_are_ranked_at_once(around: World) -> None:
    asked = [*ITEMS, *(f"unknown-{n}" for n in range(1000 - len(ITEMS)))]
    answer = await rank(around, "ann", asked)
    assert set(ids(answer.slate)) == set(ITEMS)
    assert list(answer.unknown_item_ids) == asked[len(ITEMS) :]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"user_id": "", "item_ids": ["a"]}, "user_id"),
        ({"item_ids": []}, "item_ids"),
        ({"item_ids": [f"i{n}" for n in range(1001)]}, "item_ids"),
        ({"item_ids": ["a", "b", "a"]}, "item_ids[2]"),
        ({"item_ids": ["a", " "]}, "item_ids[1]"),
        ({"item_ids": ["x" * 257]}, "item_ids[0]"),
        ({"item_ids": ["a"], "experiments": {"x" * 129: "a"}}, "experiments"),
    ],
)
async def test_an_invalid_request_is_refused_with_the_field(around: World, fields, field) -> None:
    request = rpc.RankRequest(**{"user_id": "u", **fields})
    status = await status_of(around.recommendations.Rank(request, timeout=10))
    detail = unpack(status, error_details_pb2.BadRequest)
    assert [violation.field for violation in detail.field_violations] == [field]


async def test_without_the_model_items_are_ranked_by_popularity_within_the_deadline(around: World) -> None:
    around.model.down = True
    answer = await rank(around, "nobody", ["item-9", "item-50", "item-2"])
    assert ids(answer.slate) == ["item-2", "item-9", "item-50"]
    assert answer.slate.tier == slate_pb2.TIER_POPULAR


@pytest.mark.parametrize("method", ["Recommend", "Rank", "StreamRecommendations", "Session"])
async def test_an_unknown_surface_is_refused_by_name(around: World, method: str) -> None:
    async def call(surface: str):
        requests = {
            "Recommend": rpc.RecommendRequest(user_id="u", surface=surface),
            "Rank": rpc.RankRequest(user_id="u", item_ids=["item-1"], surface=surface),
            "StreamRecommendations": rpc.StreamRecommendationsRequest(user_id="u", surface=surface),
            "Session": rpc.SessionRequest(
                open=rpc.StreamRecommendationsRequest(user_id="u", surface=surface)
            ),
        }
        request = requests[method]
        if method == "Session":
            stream = around.recommendations.Session(timeout=10)
            await stream.write(request)
            return await stream.read()
        if method == "StreamRecommendations":
            return await around.recommendations.StreamRecommendations(request, timeout=10).read()
        return await getattr(around.recommendations, method)(request, timeout=10)

    for known in ("", "default", "shop", "evaluation"):
        assert await call(known)
    status = await status_of(call("hmoe"))
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    info = unpack(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata) == ("UNKNOWN_SURFACE", {"surface": "hmoe"})
    [violation] = unpack(status, error_details_pb2.BadRequest).field_violations
    assert violation.field == ("open.surface" if method == "Session" else "surface")
    assert "'hmoe'" in status.message and "default, evaluation, shop" in status.message


async def test_what_interactions_carry_as_surface_is_free(around: World) -> None:
    assert await around.interactions.Record(
        interaction_service_pb2.RecordRequest(interaction=event("u", "item-1", surface="anything")),
        timeout=10,
    )


async def test_a_slate_too_large_for_a_record_costs_no_other_slate_its_record(around: World) -> None:
    dropped = metrics.SLATES.labels("dropped")
    before = dropped._value.get()
    log = around.server._slate_log
    item = slate_pb2.RankedItem(item_id="x" * MAX_RECORD_BYTES)
    first = await rank(around, "ann", ["item-1"])
    request = ListRequest(user_id="ann", count=1)
    for slate_id, each in (("large", item), ("small", slate_pb2.RankedItem(item_id="y"))):
        log.sent(request, Ranked(slate_pb2.Slate(slate_id=slate_id, items=[each]), np.zeros(1, np.int64), 0))
    assert [r.slate.slate_id for r in await slates(around, 2)] == [first.slate.slate_id, "small"]
    assert dropped._value.get() == before + 1
