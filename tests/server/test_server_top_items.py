"""`TopItems` answers from the catalogue in memory, without a user."""

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from profiles.times import timestamp
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import item_pb2
from server.requests.status import DETAILS_KEY, unpack
from tests.server.world import World, eventually, now_ms, world

DAY = Duration(seconds=86_400)


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    async with world(kafka, valkey, prefix) as around:
        yield around


async def top(around: World, **fields) -> list[rpc.TopItem]:
    return list((await around.catalog.TopItems(rpc.TopItemsRequest(**fields), timeout=10)).items)


async def test_each_order_names_the_figure_that_it_sorts_by(around: World) -> None:
    # The model and the store play no part.
    around.model.down = True
    plain = await top(around, count=3)
    assert [(item.item_id, item.popularity) for item in plain] == [
        ("item-0", 100),
        ("item-1", 99),
        ("item-2", 98),
    ]
    assert await top(around, count=3, order=rpc.ITEM_ORDER_POPULAR, window=DAY) == plain
    assert len(await top(around)) == 20
    trending = await top(around, count=3, order=rpc.ITEM_ORDER_TRENDING, excluded_item_ids=["item-0", "?"])
    assert [item.item_id for item in trending] == ["item-1", "item-2", "item-3"]
    assert 90 < trending[0].trend <= 99
    assert await top(around, order=rpc.ITEM_ORDER_NEWEST) == []
    then = now_ms() - 5_000
    await around.catalog.PutItems(
        rpc.PutItemsRequest(
            items=[item_pb2.Item(item_id="new", domain="shop", published_at=timestamp(then))]
        ),
        timeout=10,
    )
    await eventually(lambda: around.server.catalog.row("new") is not None)
    [newest] = await top(around, order=rpc.ITEM_ORDER_NEWEST)
    assert (newest.item_id, newest.published_at.ToMilliseconds()) == ("new", then)
    assert [item.item_id for item in await top(around, domain="shop")] == ["new"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"order": 9}, "order"),
        ({"count": 501}, "count"),
        ({"window": Duration(seconds=-1)}, "window"),
        ({"window": Duration()}, "window"),
        ({"window": Duration(seconds=255 * 86_400, nanos=1)}, "window"),
        ({"window": DAY, "order": rpc.ITEM_ORDER_NEWEST}, "window"),
        ({"excluded_item_ids": ["x"] * 1001}, "excluded_item_ids"),
    ],
)
async def test_an_invalid_request_is_refused_with_the_field(around: World, fields, field) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await top(around, **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = dict(caught.value.trailing_metadata() or ())[DETAILS_KEY]
    found = unpack(status_pb2.Status.FromString(details), error_details_pb2.BadRequest)
    assert [violation.field for violation in found.field_violations] == [field]


async def test_the_longest_window_is_accepted(around: World) -> None:
    assert len(await top(around, window=Duration(seconds=255 * 86_400))) == 20
