"""The calls that order given items, and that return top items without a user."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from recstream.client import Client, InvalidRequest, Tier, TopItem, category
from recstream.v1.catalog_service_pb2 import ItemOrder, TopItemsResponse
from recstream.v1.recommendation_service_pb2 import RankResponse
from tests.client.scripted_server import ScriptedServer, answering, bad_request, failing, slate, token


async def test_rank_sends_what_it_is_given_and_returns_the_order(server: ScriptedServer, client: Client):
    answer = RankResponse(slate=slate("b", "a"), includes_events=True, unknown_item_ids=["z", "y"])
    server.play("Rank", answering(answer))
    films = await client.rank(
        "ann", ["a", "z", "b", "y"], after=[token(5)], surface="search", experiments={"rank": "b"}
    )
    assert (films.item_ids, films.unknown_item_ids) == (("b", "a"), ("z", "y"))
    assert (films.slate_id, films.tier, films.includes_events) == ("s", Tier.RANKED, True)
    [request] = server.requests("Rank")
    assert (request.user_id, list(request.item_ids)) == ("ann", ["a", "z", "b", "y"])
    assert (list(request.after), request.surface, request.experiments) == (
        [token(5)],
        "search",
        {"rank": "b"},
    )


async def test_an_item_named_twice_is_an_invalid_request(server: ScriptedServer, client: Client):
    server.play("Rank", failing(grpc.StatusCode.INVALID_ARGUMENT, "no", bad_request(item_ids="twice")))
    with pytest.raises(InvalidRequest):
        await client.rank("ann", ["a", "a"])


async def test_top_items_sends_what_it_is_given_and_returns_items_with_figures(
    server: ScriptedServer, client: Client
):
    when = Timestamp()
    when.FromDatetime(datetime(2026, 5, 1, tzinfo=UTC))
    items = [
        TopItem(item_id="a", popularity=3),
        TopItem(item_id="b", trend=0.5),
        TopItem(item_id="c", published_at=when),
    ]
    server.play("TopItems", answering(TopItemsResponse(items=items)))
    assert await client.top_items() == tuple(items)
    comedies = category("Comedy")
    await client.top_items(
        "popular", window=timedelta(hours=36), count=5, domain="video", filter=comedies, excluded=["x"]
    )
    await client.top_items("trending")
    await client.top_items("newest")
    plain, windowed, *others = server.requests("TopItems")
    assert plain.order == ItemOrder.ITEM_ORDER_POPULAR and not plain.HasField("window")
    assert windowed.window.ToTimedelta() == timedelta(hours=36)
    assert (windowed.count, windowed.domain, list(windowed.excluded_item_ids)) == (5, "video", ["x"])
    assert windowed.filter == comedies.filter
    assert [each.order for each in others] == [ItemOrder.ITEM_ORDER_TRENDING, ItemOrder.ITEM_ORDER_NEWEST]
    with pytest.raises(ValueError, match="popular, trending, newest"):
        await client.top_items("latest")  # type: ignore[arg-type]
