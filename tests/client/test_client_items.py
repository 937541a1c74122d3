"""The calls for the catalogue, and lists that show fields of items."""

import asyncio
from datetime import UTC, datetime

import pytest

from recstream.client import Client, Item, ItemPatch, ServerError
from recstream.v1 import catalog_service_pb2 as catalog
from recstream.v1.frame_pb2 import Delta, Frame, PlacedItem
from recstream.v1.slate_pb2 import ListView, RankedItem
from tests.client.scripted_server import (
    RecommendResponse,
    ScriptedServer,
    SessionResponse,
    answering,
    slate,
    snapshot,
    streaming,
    take,
    token,
)

VIEW = ListView(item_fields=["title", "attributes.price"], model_outputs=True)
SHOWS = {"item_fields": ["title", "attributes.price"], "model_outputs": True}


async def test_a_list_asks_for_what_it_is_to_show(server: ScriptedServer, client: Client):
    wide = slate("a")
    wide.items[0].item.title = "A"
    server.play("Recommend", answering(RecommendResponse(slate=wide)))
    films = await client.recommend("ann", **SHOWS)
    assert films[0].item.title == "A"
    assert [page[0].item.title async for page in client.pages("ann", **SHOWS)] == ["A"]
    server.play("StreamRecommendations", streaming(snapshot(1, "a", token="t"), park=True))
    assert await take(client.stream("ann", **SHOWS), 1) == [("a",)]

    async def session(requests, context):
        async for _ in requests:
            yield SessionResponse(frame=snapshot(1, "b", token="t"))

    server.play("Session", session)
    async with client.session("ann", **SHOWS) as opened:
        assert (await anext(opened)).item_ids == ("b",)
    [first, page] = server.requests("Recommend")
    [stream] = server.requests("StreamRecommendations")
    assert first.view == page.view == stream.view == VIEW


async def test_a_changed_field_comes_with_a_delta(server: ScriptedServer, client: Client):
    cheaper = RankedItem(item_id="b", item=Item(item_id="b", title="Now cheaper"))
    change = Delta(slate=slate(), placed=[PlacedItem(position=1, item=cheaper)], length=2)
    frames = snapshot(1, "a", "b", token="t1"), Frame(sequence=2, delta=change, resume_token="t2")
    server.play("StreamRecommendations", streaming(*frames, park=True))
    lists = [each async for each, _ in _two(client.stream("ann", deltas=True, item_fields=["title"]))]
    assert [item.item.title for item in lists[1]] == ["", "Now cheaper"]


async def _two(stream):
    count = 0
    async for each in stream:
        yield each, count
        count += 1
        if count == 2:
            return


async def test_any_number_of_items_is_read_in_requests_of_a_bounded_size(
    server: ScriptedServer, client: Client
):
    async def read(request: catalog.BatchGetItemsRequest, context: object) -> catalog.BatchGetItemsResponse:
        """Every third item is unknown, and an answer has room for 400."""
        known = [item_id for item_id in request.item_ids if int(item_id) % 3]
        return catalog.BatchGetItemsResponse(
            items=[Item(item_id=item_id) for item_id in known[:400]],
            unknown_item_ids=[item_id for item_id in request.item_ids if not int(item_id) % 3],
            deferred_item_ids=known[400:],
        )

    server.play("BatchGetItems", read)
    ids = [str(number) for number in range(2_500)]
    found = await client.get_items(iter([*ids, *ids]), item_fields=["title"])
    assert list(found) == [item_id for item_id in ids if int(item_id) % 3]
    assert all(item_id == item.item_id for item_id, item in found.items())
    requests = server.requests("BatchGetItems")
    assert all(len(each.item_ids) <= 1_000 and list(each.item_fields) == ["title"] for each in requests)
    assert await client.get_items([]) == {}


async def test_a_server_that_only_defers_is_not_asked_for_ever(server: ScriptedServer, client: Client):
    server.play("BatchGetItems", answering(catalog.BatchGetItemsResponse(deferred_item_ids=["a"])))
    with pytest.raises(ServerError, match="defers all items"):
        await asyncio.wait_for(client.get_items(["a"]), 10)


async def test_the_catalogue_is_listed_until_there_is_no_further_token(
    server: ScriptedServer, client: Client
):
    server.play(
        "ListItems",
        answering(
            catalog.ListItemsResponse(items=[Item(item_id="a"), Item(item_id="b")], next_page_token="2")
        ),
        answering(catalog.ListItemsResponse(next_page_token="3")),
        answering(catalog.ListItemsResponse(items=[Item(item_id="c")])),
    )
    pages = client.list_items(domain="video", include_withdrawn=True, item_fields=["title"], page_size=2)
    assert [[item.item_id for item in page] async for page in pages] == [["a", "b"], ["c"]]
    requests = server.requests("ListItems")
    assert [request.page_token for request in requests] == ["", "2", "3"]
    assert {(r.domain, r.include_withdrawn, r.page_size, *r.item_fields) for r in requests} == {
        ("video", True, 2, "title")
    }


async def test_deleting_names_what_was_unknown(server: ScriptedServer, client: Client):
    deleted = catalog.DeleteItemsResponse(token=token(5), unknown_item_ids=["b"])
    server.play("DeleteItems", answering(deleted))
    assert await client.delete_items(["a", "b"]) == deleted
    assert list(server.requests("DeleteItems")[0].item_ids) == ["a", "b"]


async def test_patches_are_sent_in_batches_and_the_unknown_items_are_named(
    server: ScriptedServer, client: Client
):
    async def patched(request: catalog.PatchItemsRequest, context: object) -> catalog.PatchItemsResponse:
        ids = [patch.item.item_id for patch in request.patches]
        return catalog.PatchItemsResponse(token=token(int(ids[0])), unknown_item_ids=ids[-1:])

    server.play("PatchItems", patched)
    patches = [
        ItemPatch(item=Item(item_id=str(n), withdrawn=True), fields=["withdrawn"]) for n in range(1_001)
    ]
    answer = await client.patch_items(iter(patches), timeout=30)
    assert (answer.count, answer.tokens) == (1_001, (token(0), token(1_000)))
    assert answer.unknown_item_ids == ("999", "1000")
    assert [len(request.patches) for request in server.requests("PatchItems")] == [1_000, 1]


async def test_withdrawals_and_deletions_carry_the_time_of_their_source(
    server: ScriptedServer, client: Client
):
    server.play("WithdrawItems", answering(catalog.WithdrawItemsResponse()))
    server.play("DeleteItems", answering(catalog.DeleteItemsResponse()))
    at = datetime(2026, 1, 2, tzinfo=UTC)
    await client.withdraw(["a"], updated_at=at)
    await client.delete_items(["a"], updated_at=at)
    assert server.requests("WithdrawItems")[0].updated_at.ToDatetime(UTC) == at
    assert server.requests("DeleteItems")[0].updated_at.ToDatetime(UTC) == at
    await client.withdraw(["a"])
    assert not server.requests("WithdrawItems")[1].HasField("updated_at")
    with pytest.raises(ValueError, match="without a time zone"):
        await client.withdraw(["a"], updated_at=datetime(2026, 1, 2))
