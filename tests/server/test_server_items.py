"""Lists that show fields of items, and the calls for the catalogue, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.rpc import error_details_pb2

from profiles.times import timestamp
from recstream.client.frames import apply
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1 import catalog_service_pb2 as catalog
from recstream.v1 import item_pb2, slate_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server.items import item_reader
from tests.ingest.folding import all_folded, last_states, start_folding
from tests.server.streams import ids, next_frame, open_stream, put, record, until
from tests.server.test_server_calls import refusal
from tests.server.world import ITEMS, World, eventually, world
from topics.producer import start_producer


def numbers(*values: float) -> item_pb2.Attribute:
    return item_pb2.Attribute(numbers=values)


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    async with world(kafka, valkey, prefix) as around:
        yield around


def view(*fields: str, model_outputs: bool = False) -> slate_pb2.ListView:
    return slate_pb2.ListView(item_fields=fields, model_outputs=model_outputs)


def changed(item_id: str, **fields) -> item_pb2.Item:
    """An item of the world with other fields, in its category, on which the order of a list depends."""
    category = f"c{int(item_id.removeprefix('item-')) % 10}"
    return item_pb2.Item(
        **{"item_id": item_id, "title": f"Title of {item_id}", "categories": [category], **fields}
    )


async def recommend(around: World, user_id: str = "ann", count: int = 5, **fields) -> slate_pb2.Slate:
    request = rpc.RecommendRequest(user_id=user_id, count=count, **fields)
    return (await around.recommendations.Recommend(request, timeout=10)).slate


async def listed(around: World, **fields) -> list[item_pb2.Item]:
    request, found = catalog.ListItemsRequest(**fields), []
    while True:
        answer = await around.catalog.ListItems(request, timeout=10)
        assert len(answer.items) <= (request.page_size or 100)
        found += answer.items
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


# What a list shows


async def test_a_list_has_ids_scores_and_reasons_unless_more_is_asked_for(around: World) -> None:
    token = await record(around, "ann", "item-3")
    slate = await recommend(around, after=[token])
    assert slate.tier == slate_pb2.TIER_RANKED
    for item in slate.items:
        assert item.item_id and item.score and item.HasField("reason")
        assert not item.HasField("item") and not item.source
        assert not item.probabilities and not item.HasField("predicted_rating")
    wide = await recommend(around, after=[token], view=view("title", "categories", model_outputs=True))
    assert [item.item_id for item in wide.items] == [item.item_id for item in slate.items]
    for item in wide.items:
        assert item.item.title == f"Title of {item.item_id}" and len(item.item.categories) == 1
        assert set(item.probabilities) == {"like", "dislike", "click"}
        assert item.HasField("predicted_rating") and item.source


async def test_an_unknown_field_is_refused_by_name(around: World) -> None:
    for call in (
        around.recommendations.Recommend(rpc.RecommendRequest(user_id="ann", view=view("titel")), timeout=10),
        open_stream(around, "ann", view=view("titel")).read(),
    ):
        code, detail = await refusal(call, error_details_pb2.BadRequest)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        [violation] = detail.field_violations
        assert violation.field == "view.item_fields[0]" and "'titel'" in violation.description
    many = rpc.RecommendRequest(user_id="ann", view=view(*["title"] * 33))
    _, detail = await refusal(
        around.recommendations.Recommend(many, timeout=10), error_details_pb2.BadRequest
    )
    assert detail.field_violations[0].field == "view.item_fields"


async def test_the_record_of_a_slate_has_the_models_outputs_and_no_items_whatever_was_shown(
    around: World,
) -> None:
    token = await record(around, "ann", "item-3")
    shown = [
        await recommend(around, after=[token]),
        await recommend(around, after=[token], view=view("title")),
    ]
    topic = around.kafka.topics.slates
    consumer = AIOKafkaConsumer(auto_offset_reset="earliest", **around.kafka.client_options())
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, p) for p in range(around.kafka.partitions)])
        stored: dict[str, SlateRecord] = {}
        async with asyncio.timeout(20):
            while not {slate.slate_id for slate in shown} <= stored.keys():
                for message in [
                    m for part in (await consumer.getmany(timeout_ms=100)).values() for m in part
                ]:
                    found = SlateRecord.FromString(message.value)
                    stored[found.slate.slate_id] = found
    finally:
        await consumer.stop()
    for slate in shown:
        kept = stored[slate.slate_id]
        assert list(kept.actions) == ["like", "dislike", "click"]
        assert len(kept.probabilities) == 3 * len(slate.items) and len(kept.predicted_values) == len(
            slate.items
        )
        assert all(item.source and not item.HasField("item") for item in kept.slate.items)


async def test_a_new_price_reaches_the_list_that_shows_it_as_a_delta(around: World) -> None:
    shows = view("title", "attributes.price")
    parts = open_stream(around, "ann", deltas=True, view=shows)
    plain = open_stream(around, "ann", deltas=True)
    held = list((await next_frame(parts)).snapshot.slate.items)
    first = await next_frame(plain)
    cheaper = held[4].item_id
    await put(around, changed(cheaper, title="Now", attributes={"price": numbers(12.5), "stock": numbers(3)}))
    frame = await until(parts, lambda frame: any(p.item.item_id == cheaper for p in frame.delta.placed))
    assert not frame.caused_by and frame.resume_token
    held = list(apply(frame.delta, held))
    item = next(item.item for item in held if item.item_id == cheaper)
    assert (item.title, dict(item.attributes)) == ("Now", {"price": numbers(12.5)})
    # The list without the price is as it was, so its next frame is the one of an event.
    await record(around, "ann", "item-99", "view", event_id="e1")
    assert [cause.event_id for cause in (await next_frame(plain)).caused_by] == ["e1"]
    assert ids(first)


async def test_a_change_of_a_field_that_is_not_shown_sends_nothing(around: World) -> None:
    call = open_stream(around, "ann", view=view("title"))
    shown = ids(await next_frame(call))
    await put(around, changed(shown[0], attributes={"price": numbers(1)}))
    await record(around, "ann", "item-99", "view", event_id="e1")
    assert [cause.event_id for cause in (await next_frame(call)).caused_by] == ["e1"]


async def test_a_list_is_sent_again_after_a_break_if_a_shown_field_changed(around: World) -> None:
    async def resumed(shows: slate_pb2.ListView, token: str):
        call = open_stream(around, "ann", view=shows, resume_token=token)
        frame = await next_frame(call, beats=True)
        call.cancel()
        return frame

    call = open_stream(around, "ann", view=view("title"))
    first = await next_frame(call)
    call.cancel()
    assert (await resumed(view("title"), first.resume_token)).HasField("heartbeat")
    assert (await resumed(view(), first.resume_token)).HasField("snapshot")
    assert (await resumed(view("title", "domain"), first.resume_token)).HasField("snapshot")
    await put(around, changed(ids(first)[0], title="Now"))
    again = await resumed(view("title"), first.resume_token)
    assert "Now" in [item.item.title for item in again.snapshot.slate.items]


# Reading


async def test_items_are_read_in_order_and_unknown_ones_are_named(around: World) -> None:
    asked = ["item-7", "nowhere", "item-2", "item-7", "neither"]
    answer = await around.catalog.BatchGetItems(
        catalog.BatchGetItemsRequest(item_ids=asked, item_fields=["title"]), timeout=10
    )
    assert [(item.item_id, item.title) for item in answer.items] == [
        ("item-7", "Title of item-7"),
        ("item-2", "Title of item-2"),
    ]
    assert list(answer.unknown_item_ids) == ["nowhere", "neither"] and not answer.deferred_item_ids
    for request, field in (
        (catalog.BatchGetItemsRequest(item_ids=["x"] * 1001), "item_ids"),
        (catalog.BatchGetItemsRequest(item_ids=["x", " "]), "item_ids[1]"),
        (catalog.BatchGetItemsRequest(item_ids=["x"], item_fields=["nope"]), "item_fields[0]"),
    ):
        code, detail = await refusal(
            around.catalog.BatchGetItems(request, timeout=10), error_details_pb2.BadRequest
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT and detail.field_violations[0].field == field


async def test_an_answer_holds_as_many_items_as_fit_and_names_the_others(
    around: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_reader, "ANSWER_BYTES", 200)
    left, found = list(ITEMS), []
    while left:
        answer = await around.catalog.BatchGetItems(catalog.BatchGetItemsRequest(item_ids=left), timeout=10)
        assert 0 < len(answer.items) < 10
        found += [item.item_id for item in answer.items]
        left = list(answer.deferred_item_ids)
    assert found == list(ITEMS)
    assert sorted(item.item_id for item in await listed(around, page_size=50)) == sorted(ITEMS)


async def test_the_catalogue_is_listed_page_by_page(around: World) -> None:
    await put(
        around,
        item_pb2.Item(item_id="v-1", domain="video"),
        item_pb2.Item(item_id="v-2", domain="video", withdrawn=True),
        item_pb2.Item(item_id="v-3", domain="video", expires_at=timestamp(1_600_000_000_000)),
    )
    found = [item.item_id for item in await listed(around, page_size=7)]
    assert len(found) == len(set(found)) and set(found) == {*ITEMS, "v-1"}
    assert [item.item_id for item in await listed(around, page_size=40)] == found
    assert [item.item_id for item in await listed(around, domain="video")] == ["v-1"]
    whole = await listed(around, domain="video", include_withdrawn=True, item_fields=["domain"])
    assert {item.item_id for item in whole} == {"v-1", "v-2", "v-3"}
    assert all(item.domain == "video" and not item.withdrawn for item in whole)


async def test_an_invalid_request_for_a_page_is_refused(around: World) -> None:
    for request, field in (
        (catalog.ListItemsRequest(page_size=1001), "page_size"),
        (catalog.ListItemsRequest(page_size=-1), "page_size"),
        (catalog.ListItemsRequest(page_token="x" * 65), "page_token"),
        (catalog.ListItemsRequest(page_token="none of ours"), "page_token"),
        (catalog.ListItemsRequest(item_fields=["media.content"]), "item_fields[0]"),
    ):
        code, detail = await refusal(
            around.catalog.ListItems(request, timeout=10), error_details_pb2.BadRequest
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert [violation.field for violation in detail.field_violations] == [field]


# Changing


async def test_what_was_put_here_is_known_here_at_once(around: World) -> None:
    await put(around, item_pb2.Item(item_id="new", title="New"))
    got = await around.catalog.GetItem(catalog.GetItemRequest(item_id="new"), timeout=10)
    assert got.item.title == "New"
    assert "new" in {item.item_id for item in await listed(around)}
    await put(around, item_pb2.Item(item_id="new", title="Newer"))
    assert around.server.catalog.item(around.server.catalog.row("new")).title == "Newer"


@pytest.mark.parametrize("call", ["WithdrawItems", "DeleteItems"])
async def test_an_item_leaves_the_lists_of_the_server_that_is_asked_at_once(around: World, call: str) -> None:
    gone = (await recommend(around, count=1)).items[0].item_id
    stream = open_stream(around, "bob", count=len(ITEMS))
    assert gone in ids(await next_frame(stream))
    request = getattr(catalog, f"{call}Request")(item_ids=[gone, "nowhere"])
    # Nothing is read from Kafka meanwhile.
    around.server.catalog._reader._take = _never
    answer = await getattr(around.catalog, call)(request, timeout=10)
    assert list(answer.unknown_item_ids) == ["nowhere"]
    written = around.positions(answer.token, "")
    assert 1 <= len(written) <= 2
    assert gone not in {item.item_id for item in (await recommend(around, count=len(ITEMS))).items}
    assert gone not in ids(await next_frame(stream))
    assert gone not in {item.item_id for item in await listed(around)}


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


async def test_a_deleted_item_is_gone_from_the_topic_and_may_be_put_again(around: World) -> None:
    request = catalog.DeleteItemsRequest(item_ids=["item-1", "item-1"])
    async with folding(around):
        first = await around.catalog.DeleteItems(request, timeout=10)
    assert first.token and not first.unknown_item_ids
    again = await around.catalog.DeleteItems(request, timeout=10)
    assert again.token and list(again.unknown_item_ids) == ["item-1"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await around.catalog.GetItem(catalog.GetItemRequest(item_id="item-1"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    withdrawn = await around.catalog.WithdrawItems(
        catalog.WithdrawItemsRequest(item_ids=["item-1"]), timeout=10
    )
    assert list(withdrawn.unknown_item_ids) == ["item-1"]
    assert not (await last_states(around.kafka))["item-1"].listed
    await put(around, item_pb2.Item(item_id="item-1", title="Again"))
    got = await around.catalog.GetItem(catalog.GetItemRequest(item_id="item-1"), timeout=10)
    assert got.item.title == "Again" and got.popularity == len(ITEMS) - 1


@asynccontextmanager
async def folding(around: World) -> AsyncIterator[None]:
    """Runs the worker that folds changes of items. In the end, all are folded."""
    running = start_folding(around.kafka)
    try:
        yield
        await all_folded(around.kafka)
    finally:
        await running.stop()


async def test_what_another_process_puts_after_a_deletion_is_there(around: World) -> None:
    await around.catalog.DeleteItems(catalog.DeleteItemsRequest(item_ids=["item-1"]), timeout=10)
    producer = await start_producer(around.kafka)
    item = item_pb2.Item(item_id="item-1", title="Other")
    await producer.send_and_wait(around.kafka.topics.items, item.SerializeToString(), b"item-1")
    await producer.stop()
    await eventually(lambda: around.server.catalog.row("item-1") is not None)
    assert around.server.catalog.item(around.server.catalog.row("item-1")).title == "Other"
    withdrawn = await around.catalog.WithdrawItems(
        catalog.WithdrawItemsRequest(item_ids=["item-1"]), timeout=10
    )
    assert withdrawn.token and not withdrawn.unknown_item_ids
    row = around.server.catalog.row("item-1")
    assert around.server.catalog.item(row).title == "Other" and around.server.catalog.item(row).withdrawn


async def test_a_put_and_a_deletion_at_the_same_time_end_as_the_log_does(around: World) -> None:
    async def one(number: int) -> None:
        if number % 2:
            await around.catalog.DeleteItems(catalog.DeleteItemsRequest(item_ids=["item-1"]), timeout=20)
        else:
            await put(around, item_pb2.Item(item_id="item-1", title=f"Title {number}"))

    async with folding(around):
        await asyncio.gather(*(one(number) for number in range(40)))
    state = (await last_states(around.kafka))["item-1"]
    row = around.server.catalog.row("item-1")
    if not state.listed:
        assert row is None
    else:
        assert around.server.catalog.item(row).title == state.item.title
