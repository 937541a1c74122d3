"""Rules through the front door: in calls, on pages and on open streams."""

import grpc
import pytest
import pytest_asyncio

from catalog.filters.filter_text import parse
from ranking.settings import RankingSettings
from recstream.v1 import filter_pb2, frame_pb2, rules_pb2, slate_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import InvalidRequest
from server.requests import validation
from tests.server.streams import next_frame, open_stream, record, until
from tests.server.world import ITEMS, World, now_ms, world

SURFACES = ("default",)
SURFACE = {"rules": {"promotions": [{"name": "c7", "filter": "category = c7", "share": 0.5}]}}


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    # Only a rule or a heartbeat can wake a stream.
    ranking = RankingSettings.model_validate({"surfaces": {"home": SURFACE}})
    async with world(kafka, valkey, prefix, ranking=ranking, refresh_seconds=0) as around:
        yield around


def window(start: int | None, end: int | None) -> rules_pb2.TimeWindow:
    made = rules_pb2.TimeWindow()
    if start is not None:
        made.start_time.FromMilliseconds(start)
    if end is not None:
        made.end_time.FromMilliseconds(end)
    return made


async def test_a_request_and_its_surface_may_have_rules(around: World) -> None:
    token = await record(around, "ann", "item-3")
    rules = rules_pb2.ListRules(pins=[rules_pb2.Pin(item_id="item-3", position=1)])
    answer = await around.recommendations.Recommend(
        rpc.RecommendRequest(user_id="ann", count=10, surface="home", rules=rules, after=[token]), timeout=10
    )
    items = answer.slate.items
    assert len(items) == len({item.item_id for item in items}) == 10
    assert (items[1].item_id, items[1].reason.kind) == ("item-3", slate_pb2.REASON_KIND_PINNED)
    assert sum(item.item_id.endswith("7") for item in items) >= 5
    assert {item.reason.rule for item in items if item.reason.kind == slate_pb2.REASON_KIND_PROMOTED} == {
        "c7"
    }


async def test_pages_with_rules_repeat_no_item(around: World) -> None:
    rules = rules_pb2.ListRules(pins=[rules_pb2.Pin(item_id="item-90")], diversity=0.3)
    request = rpc.RecommendRequest(user_id="ann", count=30, rules=rules)
    seen: list[str] = []
    while True:
        answer = await around.recommendations.Recommend(request, timeout=10)
        seen += [item.item_id for item in answer.slate.items]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert seen[0] == "item-90"
    assert sorted(seen) == sorted(ITEMS)
    first = await around.recommendations.Recommend(
        rpc.RecommendRequest(user_id="ann", rules=rules), timeout=10
    )
    with pytest.raises(grpc.aio.AioRpcError, match="rules"):
        await around.recommendations.Recommend(
            rpc.RecommendRequest(user_id="ann", page_token=first.next_page_token), timeout=10
        )


async def test_a_window_that_opens_or_closes_reaches_an_open_stream(around: World) -> None:
    edge = now_ms() + 4000
    calls = [
        open_stream(
            around,
            "ann",
            rules=rules_pb2.ListRules(pins=[rules_pb2.Pin(item_id="item-90", window=window(*ends))]),
        )
        for ends in ((edge, None), (None, edge))
    ]

    def pinned(frame: frame_pb2.Frame) -> bool:
        first = frame.snapshot.slate.items[0]
        return first.item_id == "item-90" and first.reason.kind == slate_pb2.REASON_KIND_PINNED

    assert [pinned(await next_frame(call)) for call in calls] == [False, True]
    await until(calls[0], pinned)
    await until(calls[1], lambda frame: not pinned(frame))
    assert now_ms() >= edge
    for call in calls:
        call.cancel()


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (
            rules_pb2.ListRules(
                boosts=[
                    *[rules_pb2.Boost(name="x", filter=parse("category = a"))] * 2,
                    rules_pb2.Boost(name="x", filter=parse("category = a"), strength=11),
                ]
            ),
            "rules.boosts[2].strength",
        ),
        (
            rules_pb2.ListRules(
                promotions=[rules_pb2.Promotion(name="x", filter=filter_pb2.Filter(range={}))]
            ),
            "rules.promotions[0].filter.range",
        ),
        (rules_pb2.ListRules(pins=[rules_pb2.Pin(item_id="a", position=10)]), "rules.pins[0].position"),
        (rules_pb2.ListRules(caps=[rules_pb2.Cap(field="category")]), "rules.caps[0]"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(rules: rules_pb2.ListRules, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validation.recommend(
            rpc.RecommendRequest(user_id="ann", count=10, rules=rules), frozenset(), SURFACES
        )
    assert field in [violation.field for violation in refused.value.violations]
    with pytest.raises(InvalidRequest) as refused:
        validation.stream(
            rpc.StreamRecommendationsRequest(user_id="ann", count=10, rules=rules), SURFACES, "open."
        )
    assert f"open.{field}" in [violation.field for violation in refused.value.violations]
