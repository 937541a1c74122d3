"""Each call of the four services against a real server."""

import asyncio
from itertools import pairwise

import grpc
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from profiles.folding.events import Position
from profiles.times import milliseconds, timestamp
from recstream.v1 import (
    catalog_service_pb2,
    filter_pb2,
    interaction_pb2,
    interaction_service_pb2,
    item_pb2,
    profile_service_pb2,
    slate_pb2,
)
from recstream.v1 import recommendation_service_pb2 as rpc
from server import metrics
from server.requests.status import DETAILS_KEY, unpack
from tests.server.streams import next_frame, open_stream
from tests.server.world import ITEMS, World, event, eventually, now_ms, world


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    async with world(kafka, valkey, prefix) as around:
        yield around


async def refusal(call, kind: type[Message]) -> tuple[grpc.StatusCode, Message]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata() or ()).get(DETAILS_KEY, b"")
    found = unpack(status_pb2.Status.FromString(details), kind)
    assert found is not None, caught.value
    return caught.value.code(), found


async def test_an_unknown_user_gets_a_list_of_the_requested_length(around: World) -> None:
    answer = await around.recommendations.Recommend(
        rpc.RecommendRequest(user_id="nobody", count=7), timeout=10
    )
    ids = [item.item_id for item in answer.slate.items]
    assert len(ids) == len(set(ids)) == 7
    assert answer.includes_events and answer.slate.slate_id and not answer.slate.profile_unavailable


async def test_a_recorded_event_is_included_in_the_answer_that_names_it(around: World) -> None:
    recorded = await around.interactions.Record(
        interaction_service_pb2.RecordRequest(interaction=event("ann", "item-3", event_id="e1")), timeout=10
    )
    answer = await around.recommendations.Recommend(
        rpc.RecommendRequest(user_id="ann", count=100, after=[recorded.token]), timeout=10
    )
    assert answer.includes_events
    assert answer.slate.tier == slate_pb2.TIER_RANKED
    assert "item-3" not in {item.item_id for item in answer.slate.items}
    assert len(answer.slate.items) == len(ITEMS) - 1
    profile = await around.profiles.GetProfile(
        profile_service_pb2.GetProfileRequest(user_id="ann", after=[recorded.token]), timeout=10
    )
    assert profile.includes_events
    assert [(e.event_id, e.item_id) for e in profile.profile.history] == [("e1", "item-3")]
    assert profile.profile.totals == {"like": 1}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (rpc.RecommendRequest(), "user_id"),
        (rpc.RecommendRequest(user_id=" "), "user_id"),
        (rpc.RecommendRequest(user_id="é" * 129), "user_id"),
        (rpc.RecommendRequest(user_id="u", count=-1), "count"),
        (rpc.RecommendRequest(user_id="u", count=501), "count"),
        (rpc.RecommendRequest(user_id="u", excluded_item_ids=["x"] * 1001), "excluded_item_ids"),
        (
            rpc.RecommendRequest(user_id="u", after=["x"]),
            "after[0]",
        ),
        (rpc.RecommendRequest(user_id="u", page_token="garbled!"), "page_token"),
        (
            rpc.RecommendRequest(
                user_id="u",
                filter=filter_pb2.Filter(
                    range=filter_pb2.RangeFilter(field="attributes.price", min=2, max=1)
                ),
            ),
            "filter.range",
        ),
        (rpc.RecommendRequest(user_id="u", filter=filter_pb2.Filter()), "filter"),
        (
            rpc.RecommendRequest(user_id="u", filter_text="price < 20"),
            "filter_text",
        ),
    ],
)
async def test_an_invalid_request_is_refused_with_the_field(around: World, request_, field) -> None:
    code, detail = await refusal(
        around.recommendations.Recommend(request_, timeout=10), error_details_pb2.BadRequest
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in detail.field_violations] == [field]


async def test_invalid_events_are_refused_with_the_field_and_the_others_recorded(around: World) -> None:
    code, detail = await refusal(
        around.interactions.Record(
            interaction_service_pb2.RecordRequest(
                interaction=event("undefined", "", "fly", event_time=timestamp(17))
            ),
            timeout=10,
        ),
        error_details_pb2.BadRequest,
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert {violation.field for violation in detail.field_violations} >= {
        "interaction.user_id",
        "interaction.item_id",
        "interaction.action",
        "interaction.event_time",
    }
    events = [event("ben", f"item-{i}", event_id=f"e{i}") for i in range(300)]
    events[10].action = "fly"
    call = around.interactions.RecordStream(timeout=60)

    async def send() -> None:
        for one in events:
            await call.write(interaction_service_pb2.RecordStreamRequest(interaction=one))
        await call.done_writing()

    sending = asyncio.create_task(send())
    answers = [answer async for answer in call]
    await sending
    results = [answer.result for answer in answers]
    kinds = [result.WhichOneof("result") for result in results]
    assert kinds == ["refused" if i == 10 else "token" for i in range(300)]
    tokens = [result.token for result in results if result.HasField("token")]
    positions = [position for token in tokens for position in around.positions(token, "ben")]
    assert len(positions) == 299 and len({position.partition for position in positions}) == 1
    assert all(before.offset < after.offset for before, after in pairwise(positions))
    assert (
        unpack(results[10].refused, error_details_pb2.BadRequest).field_violations[0].field
        == "interaction.action"
    )


async def test_a_batch_records_each_event_that_is_not_refused_in_order(around: World) -> None:
    events = [event("cleo", f"item-{i % 100}", event_id=f"c{i}") for i in range(1000)]
    events[10].action = "fly"
    events[20].user_id = ""
    request = interaction_service_pb2.BatchRecordRequest(interactions=events)
    results = (await around.interactions.BatchRecord(request, timeout=30)).results
    refused = [i for i, result in enumerate(results) if result.HasField("refused")]
    assert len(results) == 1000 and refused == [10, 20]
    assert results[10].refused.code == code_pb2.INVALID_ARGUMENT
    (violation,) = unpack(results[10].refused, error_details_pb2.BadRequest).field_violations
    assert violation.field == "interaction.action"
    (token,) = {result.token for result in results if result.HasField("token")}
    assert len(around.positions(token, "cleo")) == 1
    answer = await around.profiles.GetProfile(
        profile_service_pb2.GetProfileRequest(user_id="cleo", after=[token]), timeout=30
    )
    assert answer.includes_events and answer.profile.totals == {"like": 998}


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_1_to_1000_events(around: World, count: int) -> None:
    request = interaction_service_pb2.BatchRecordRequest(interactions=[event("ann", "item-1")] * count)
    code, detail = await refusal(
        around.interactions.BatchRecord(request, timeout=10), error_details_pb2.BadRequest
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in detail.field_violations] == ["interactions"]


async def test_an_event_without_a_time_or_from_a_wrong_clock_has_the_servers_time_in_the_log(
    around: World,
) -> None:
    before, ahead = metrics.CLOCKS_AHEAD._value.get(), timestamp(now_ms() + 86_400_000)
    began = now_ms()
    stamped = timestamp(began - 60_000)
    sent = [event("dora", "item-1"), event("dora", "item-2", event_time=ahead)]
    sent.append(event("dora", "item-3", event_time=stamped))
    requests = [interaction_service_pb2.RecordRequest(interaction=each) for each in sent]
    tokens = [(await around.interactions.Record(each, timeout=10)).token for each in requests]
    written = [await written_at(around, *around.positions(token, "dora")) for token in tokens]
    assert [each.item_id for each in written] == ["item-1", "item-2", "item-3"]
    times = [milliseconds(each.event_time) for each in written]
    assert all(began <= time_ms <= now_ms() for time_ms in times[:2]) and written[2].event_time == stamped
    assert metrics.CLOCKS_AHEAD._value.get() - before == 1
    profile = await around.profiles.GetProfile(
        profile_service_pb2.GetProfileRequest(user_id="dora", after=tokens), timeout=30
    )
    entries = {entry.item_id: entry.event_time for entry in profile.profile.history}
    assert entries == {each.item_id: timestamp(milliseconds(each.event_time)) for each in written}
    assert profile.profile.expires_at.ToMilliseconds() > began


async def test_an_impression_and_an_undo_reach_the_profile(around: World) -> None:
    seen = interaction_pb2.SlateImpression(item_ids=["item-7", "item-8"])
    undone = interaction_pb2.Interaction(
        user_id="eli", event_id="undone", undo=interaction_pb2.Undo(event_id="liked")
    )
    sent = [
        interaction_pb2.Interaction(user_id="eli", event_id="s", impression=seen, slate_id="x"),
        event("eli", "item-9", event_id="liked"),
        undone,
    ]
    request = interaction_service_pb2.BatchRecordRequest(interactions=sent)
    results = (await around.interactions.BatchRecord(request, timeout=10)).results
    profile = (
        await around.profiles.GetProfile(
            profile_service_pb2.GetProfileRequest(user_id="eli", after=[r.token for r in results]), timeout=30
        )
    ).profile
    assert profile.totals == {"impression": 1, "like": 1, "undo": 1}
    assert [(e.event_id, list(e.item_ids)) for e in profile.impressions] == [("s", ["item-7", "item-8"])]
    assert [(e.action, e.undone, e.undo_event_id) for e in profile.history] == [
        ("like", True, ""),
        ("undo", False, "liked"),
    ]


async def written_at(around: World, position: Position) -> interaction_pb2.Interaction:
    """Returns the interaction that the log has at a position."""
    place = TopicPartition(around.kafka.topics.interactions, position.partition)
    consumer = AIOKafkaConsumer(**around.kafka.client_options())
    await consumer.start()
    try:
        consumer.assign([place])
        consumer.seek(place, position.offset)
        record = await asyncio.wait_for(consumer.getone(), 20)
        return interaction_pb2.Interaction.FromString(record.value)
    finally:
        await consumer.stop()


async def test_similar_items_leave_out_the_item_and_refuse_an_unknown_one(around: World) -> None:
    found = await around.recommendations.SimilarItems(
        rpc.SimilarItemsRequest(item_id="item-1", count=5, excluded_item_ids=["item-2"]), timeout=10
    )
    ids = [item.item_id for item in found.items]
    assert len(set(ids)) == 5 and not {"item-1", "item-2"} & set(ids)
    code, detail = await refusal(
        around.recommendations.SimilarItems(rpc.SimilarItemsRequest(item_id="?"), timeout=10),
        error_details_pb2.ErrorInfo,
    )
    assert code is grpc.StatusCode.NOT_FOUND and detail.reason == "UNKNOWN_ITEM"
    assert detail.metadata == {"item_id": "?"}


async def test_items_are_put_read_and_withdrawn(around: World) -> None:
    put = await around.catalog.PutItems(
        catalog_service_pb2.PutItemsRequest(
            items=[item_pb2.Item(item_id="new", title="New", attributes={"price": {"numbers": [3]}})]
        ),
        timeout=10,
    )
    assert len(around.positions(put.token, "")) == 1
    # Withdrawn right away: the title must survive, although the catalogue may not have read it yet.
    withdrawn = await around.catalog.WithdrawItems(
        catalog_service_pb2.WithdrawItemsRequest(item_ids=["new", "never seen", "item-0"]), timeout=10
    )
    assert withdrawn.token and list(withdrawn.unknown_item_ids) == ["never seen"]
    await eventually(lambda: around.server.catalog.row("new") is not None)
    got = await around.catalog.GetItem(catalog_service_pb2.GetItemRequest(item_id="new"), timeout=10)
    assert got.item.title == "New" and got.item.withdrawn and not got.embedded
    old = await around.catalog.GetItem(catalog_service_pb2.GetItemRequest(item_id="item-1"), timeout=10)
    assert old.embedded and old.popularity == len(ITEMS) - 1 and old.trend > 0
    code, detail = await refusal(
        around.catalog.PutItems(
            catalog_service_pb2.PutItemsRequest(
                items=[item_pb2.Item(item_id="ok"), item_pb2.Item(item_id=" ")]
            ),
            timeout=10,
        ),
        error_details_pb2.BadRequest,
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT and detail.field_violations[0].field == "items[1].item_id"


async def test_an_erased_user_has_no_history_and_no_totals(around: World) -> None:
    tokens = [
        (
            await around.interactions.Record(
                interaction_service_pb2.RecordRequest(interaction=event("eve", f"item-{i}")), timeout=10
            )
        ).token
        for i in range(3)
    ]
    before = await around.profiles.GetProfile(
        profile_service_pb2.GetProfileRequest(user_id="eve", after=tokens), timeout=10
    )
    assert len(before.profile.history) == 3
    parts = [
        part
        async for part in around.profiles.ExportProfile(
            profile_service_pb2.ExportProfileRequest(user_id="eve"), timeout=10
        )
    ]
    assert [entry.item_id for entry in parts[0].profile.history] == ["item-0", "item-1", "item-2"]
    order = await around.profiles.EraseProfile(
        profile_service_pb2.EraseProfileRequest(user_id="eve"), timeout=10
    )
    after = await around.profiles.GetProfile(
        profile_service_pb2.GetProfileRequest(user_id="eve", after=[order.token]), timeout=10
    )
    assert after.includes_events and not after.profile.history and not after.profile.totals


async def test_a_filter_in_either_form_chooses_the_items(around: World) -> None:
    wanted = filter_pb2.Filter(item_ids=filter_pb2.ItemIds(values=["item-3", "item-4", "unknown"]))
    for asked in ({"filter": wanted}, {"filter_text": 'item_id = ("item-3" OR "item-4" OR "unknown")'}):
        answer = await around.recommendations.Recommend(
            rpc.RecommendRequest(user_id="new here", **asked), timeout=10
        )
        similar = await around.recommendations.SimilarItems(
            rpc.SimilarItemsRequest(item_id="item-1", **asked), timeout=10
        )
        frame = await next_frame(open_stream(around, "new here", **asked))
        for items in (answer.slate.items, similar.items, frame.snapshot.slate.items):
            assert {item.item_id for item in items} == {"item-3", "item-4"}


async def test_pages_repeat_no_item_and_end(around: World) -> None:
    seen: list[str] = []
    token, pages = "", 0
    while True:
        answer = await around.recommendations.Recommend(
            rpc.RecommendRequest(user_id="pat", count=10, page_token=token, excluded_item_ids=ITEMS[:5]),
            timeout=10,
        )
        seen += [item.item_id for item in answer.slate.items]
        pages += 1
        clicked = answer.slate.items[0].item_id
        await around.interactions.Record(
            interaction_service_pb2.RecordRequest(interaction=event("pat", clicked, "click")), timeout=10
        )
        token = answer.next_page_token
        if not token:
            break
    assert pages == 10 and len(seen) == len(set(seen)) == 95


async def test_a_foreign_page_token_is_refused(around: World) -> None:
    first = await around.recommendations.Recommend(rpc.RecommendRequest(user_id="pat", count=5), timeout=10)
    for request, why in (
        (rpc.RecommendRequest(user_id="other", page_token=first.next_page_token), "another user"),
        (
            rpc.RecommendRequest(user_id="pat", surface="evaluation", page_token=first.next_page_token),
            "another request",
        ),
        (
            rpc.RecommendRequest(user_id="pat", filter_text="domain:*", page_token=first.next_page_token),
            "another request",
        ),
        (rpc.RecommendRequest(user_id="pat", page_token=f"{first.next_page_token[:-8]}AAAAAAAA"), "damaged"),
    ):
        code, detail = await refusal(
            around.recommendations.Recommend(request, timeout=10), error_details_pb2.BadRequest
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert (
            detail.field_violations[0].field == "page_token" and why in detail.field_violations[0].description
        )


async def test_a_session_records_events_and_sends_frames(around: World) -> None:
    call = around.recommendations.Session()
    await call.write(rpc.SessionRequest(open=rpc.StreamRecommendationsRequest(user_id="sam", count=5)))
    first = await call.read()
    assert first.frame.HasField("snapshot") and not first.frame.caused_by
    shown = first.frame.snapshot.slate.items[0].item_id
    await call.write(rpc.SessionRequest(interaction=event("", shown, event_id="s1")))
    await call.write(rpc.SessionRequest(interaction=event("", shown, "fly")))
    await call.write(rpc.SessionRequest(interaction=event("another", shown)))
    kinds, named = [], []
    while len(kinds) < 3 or not named:
        answer = await asyncio.wait_for(call.read(), 20)
        if answer.HasField("frame"):
            named += [cause.event_id for cause in answer.frame.caused_by]
            assert shown not in {item.item_id for item in answer.frame.snapshot.slate.items}
        else:
            kinds.append(answer.WhichOneof("kind"))
    assert kinds == ["recorded", "refused", "refused"] and named == ["s1"]
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass
    assert await call.code() is grpc.StatusCode.OK


async def test_a_session_that_is_not_opened_is_refused(around: World) -> None:
    call = around.recommendations.Session()
    await call.write(rpc.SessionRequest(interaction=event("sam", "item-1")))
    code, detail = await refusal(call.read(), error_details_pb2.BadRequest)
    assert code is grpc.StatusCode.INVALID_ARGUMENT and detail.field_violations[0].field == "open"
