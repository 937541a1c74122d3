"""The later change of an item wins, on every server and in the log."""

import time

import grpc
import pytest
from google.rpc import error_details_pb2

from catalog.metrics import RECORDS
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import item_pb2
from server import metrics
from server.app import Server
from tests.ingest.folding import all_folded, last_states
from tests.server.test_server_calls import refusal
from tests.server.two_servers import Expected, another_server, shop, shown, shuffled_changes
from tests.server.world import World, eventually, world


@pytest.fixture
async def around(kafka, valkey, prefix):
    async with world(kafka, valkey, prefix, items=["item-0"]) as around:
        yield around


def item(item_id: str, at: int = 0, **fields) -> item_pb2.Item:
    made = item_pb2.Item(item_id=item_id, **fields)
    if at:
        made.updated_at.seconds = at
    return made


async def put(around: World, *items: item_pb2.Item) -> None:
    await around.catalog.PutItems(rpc.PutItemsRequest(items=items), timeout=20)


async def patch(around: World, changed: item_pb2.Item, *fields: str) -> rpc.PatchItemsResponse:
    request = rpc.PatchItemsRequest(patches=[item_pb2.ItemPatch(item=changed, fields=fields)])
    return await around.catalog.PatchItems(request, timeout=20)


async def got(around: World, item_id: str) -> item_pb2.Item:
    return (await around.catalog.GetItem(rpc.GetItemRequest(item_id=item_id), timeout=20)).item


async def known(around: World, item_id: str) -> bool:
    answer = await around.catalog.BatchGetItems(rpc.BatchGetItemsRequest(item_ids=[item_id]), timeout=20)
    return bool(answer.items)


async def test_two_servers_and_the_log_end_in_the_state_of_the_latest_source_times(
    kafka, valkey, prefix
) -> None:
    async with shop(kafka, valkey, prefix) as both:
        final = await shuffled_changes(both, items=30, changes=300)
        await all_folded(both.world.kafka)
        for server in both.servers:
            await eventually(lambda server=server: shown(server, list(final)) == final, 60)
        states = await last_states(both.world.kafka)
        found = {
            item_id: Expected(state.item.title, state.item.numbers["price"][0], state.item.withdrawn)
            for item_id, state in states.items()
            if item_id in final
        }
        assert found == final


async def test_every_server_shows_a_change_although_no_worker_folds_it(kafka, valkey, prefix) -> None:
    async with shop(kafka, valkey, prefix, folded=False) as both:
        await put(both.world, item("new", title="New"))
        gone = rpc.WithdrawItemsRequest(item_ids=["item-0"])
        await both.catalogs[1].WithdrawItems(gone, timeout=20)

        def shows(server: Server) -> bool:
            row, old = server.catalog.row("new"), server.catalog.row("item-0")
            return row is not None and old is not None and server.catalog.item(old).withdrawn

        for server in both.servers:
            await eventually(lambda server=server: shows(server))
        async with another_server(both.world) as (third, _):
            assert shows(third)


async def test_a_server_reads_only_the_changes_that_no_worker_has_folded(kafka, valkey, prefix) -> None:
    async with shop(kafka, valkey, prefix) as both:
        await put(both.world, *(item(f"i{n}", title="New") for n in range(20)))
        await all_folded(both.world.kafka)
        topic = both.world.kafka.topics.item_changes
        before = RECORDS.labels(topic)._value.get()
        async with another_server(both.world) as (third, _):
            assert all(third.catalog.row(f"i{n}") is not None for n in range(20))
        assert RECORDS.labels(topic)._value.get() == before


async def test_what_is_older_than_what_is_known_shows_nothing_and_is_accepted(around: World) -> None:
    await put(around, item("a", 50, title="now"))
    await put(around, item("a", 40, title="late retry", domain="video"))
    assert (await got(around, "a")).title == "now" and not (await got(around, "a")).domain
    answer = await around.catalog.GetItem(rpc.GetItemRequest(item_id="a"), timeout=20)
    assert answer.updated_at.seconds == 50
    request = rpc.WithdrawItemsRequest(item_ids=["a"])
    request.updated_at.seconds = 60
    await around.catalog.WithdrawItems(request, timeout=20)
    await put(around, item("a", 55, title="between"))
    assert (await got(around, "a")).withdrawn and (await got(around, "a")).title == "between"
    await put(around, item("a", 61))
    assert not (await got(around, "a")).withdrawn
    gone = rpc.DeleteItemsRequest(item_ids=["a"])
    gone.updated_at.seconds = 70
    await around.catalog.DeleteItems(gone, timeout=20)
    await put(around, item("a", 65))
    assert not await known(around, "a")
    await put(around, item("a", 71, title="back"))
    assert (await got(around, "a")).title == "back"


async def test_a_patch_changes_its_fields_and_names_unknown_items(around: World) -> None:
    price = item_pb2.Attribute(numbers=[9])
    await put(around, item("a", title="T", categories=["x"], attributes={"price": price, "old": price}))
    cheaper = item("a", attributes={"price": item_pb2.Attribute(numbers=[8])}, title="not named")
    answer = await patch(around, cheaper, "attributes.price", "attributes.old")
    assert answer.token and not answer.unknown_item_ids
    found = await got(around, "a")
    assert (found.title, list(found.categories), dict(found.attributes)) == (
        "T",
        ["x"],
        {"price": item_pb2.Attribute(numbers=[8])},
    )
    assert list((await patch(around, item("new", 5, title="early"), "title")).unknown_item_ids) == ["new"]
    assert not await known(around, "new")


async def test_an_invalid_patch_is_refused_by_its_field_and_nothing_is_written(around: World) -> None:
    many = {f"n{number}": item_pb2.Attribute(numbers=[1]) for number in range(128)}
    await put(around, item("a", title="T", attributes=many))
    more = item("a", attributes={"more": item_pb2.Attribute(numbers=[1])})
    for patches, field in (
        ([item_pb2.ItemPatch(item=item("a"))], "patches[0].fields"),
        ([item_pb2.ItemPatch(item=item("a"), fields=["titel"])], "patches[0].fields[0]"),
        ([item_pb2.ItemPatch(item=item(" "), fields=["title"])], "patches[0].item.item_id"),
        ([item_pb2.ItemPatch(item=more, fields=["attributes.more"])], "patches[0].attributes"),
        ([item_pb2.ItemPatch(item=item("a"), fields=["title"])] * 1_001, "patches"),
        (
            [
                item_pb2.ItemPatch(item=item("a", title="x"), fields=["title"]),
                item_pb2.ItemPatch(item=item("a", domain="d" * 300), fields=["domain"]),
            ],
            "patches[1].item.domain",
        ),
    ):
        code, detail = await refusal(
            around.catalog.PatchItems(rpc.PatchItemsRequest(patches=patches), timeout=20),
            error_details_pb2.BadRequest,
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert [violation.field for violation in detail.field_violations] == [field]
    assert (await got(around, "a")).title == "T"


async def test_a_call_without_a_time_is_later_than_all_that_this_server_knows(around: World) -> None:
    """Another server's clock may be ahead of this one's."""
    ahead = int(time.time()) + 200
    await put(around, item("a", ahead, title="ahead"))
    await around.catalog.WithdrawItems(rpc.WithdrawItemsRequest(item_ids=["a"]), timeout=20)
    assert (await got(around, "a")).withdrawn
    await put(around, item("a", title="last"))
    assert (await got(around, "a")).title == "last" and not (await got(around, "a")).withdrawn


async def test_a_time_too_far_ahead_is_replaced_and_counted(around: World) -> None:
    before = metrics.ITEM_CLOCKS_AHEAD._value.get()
    await put(around, item("a", int(time.time()) + 10_000, title="ahead"))
    answer = await around.catalog.GetItem(rpc.GetItemRequest(item_id="a"), timeout=20)
    assert abs(answer.updated_at.seconds - time.time()) < 120
    await put(around, item("a", title="next"))
    assert (await got(around, "a")).title == "next"
    assert metrics.ITEM_CLOCKS_AHEAD._value.get() == before + 1


async def test_an_item_that_was_read_can_be_changed_and_put_again(around: World) -> None:
    await put(around, item("a", int(time.time()), title="first"))
    read = await got(around, "a")
    read.title = "second"
    await put(around, read)
    assert (await got(around, "a")).title == "second"
    request = rpc.BatchGetItemsRequest(item_ids=["a"], item_fields=["updated_at"])
    [shown] = (await around.catalog.BatchGetItems(request, timeout=20)).items
    assert shown.updated_at.seconds and not shown.title
