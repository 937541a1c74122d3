"""`recstream rank` and `recstream top`, run as commands against a scripted server."""

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from cli.app import app
from cli.errors import CommandError
from recstream.v1.catalog_service_pb2 import ItemOrder, TopItem, TopItemsResponse
from recstream.v1.item_pb2 import Item
from recstream.v1.recommendation_service_pb2 import RankResponse
from tests.client.scripted_server import ScriptedServer, answering, bad_request, failing, slate


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    running = ScriptedServer()
    await running.start()
    yield running
    await running.stop()


def ranked() -> RankResponse:
    answer = RankResponse(slate=slate("b", "a"), unknown_item_ids=["z"])
    for item in answer.slate.items:
        item.item.title = f"Title of {item.item_id}"
    return answer


async def run(*arguments: str, given: str = "") -> Result:
    def invoke() -> Result:
        return CliRunner().invoke(
            app, list(arguments), input=given, catch_exceptions=False, env={"COLUMNS": "120"}
        )

    return await asyncio.to_thread(invoke)


async def test_rank_prints_the_order_and_the_unknown_items(server: ScriptedServer) -> None:
    server.play("Rank", answering(ranked()))
    answer = await run("rank", "ann", "a", "z", "b", "--server", server.target, "--surface", "search")
    assert answer.exit_code == 0
    assert answer.stdout.index("Title of b") < answer.stdout.index("Title of a")
    assert "unknown: z" in answer.stdout
    [request] = server.requests("Rank")
    assert (request.user_id, list(request.item_ids), request.surface) == ("ann", ["a", "z", "b"], "search")
    assert list(request.view.item_fields) == ["title"]


async def test_rank_reads_items_from_standard_input(server: ScriptedServer) -> None:
    server.play("Rank", answering(ranked()))
    answer = await run("rank", "ann", "-", "--json", "--server", server.target, given="a\n\n z \nb\n")
    printed = json.loads(answer.stdout)
    assert [each["item_id"] for each in printed["items"]] == ["b", "a"]
    assert printed["unknown_item_ids"] == ["z"]
    assert list(server.requests("Rank")[0].item_ids) == ["a", "z", "b"]


async def test_a_refused_request_says_why(server: ScriptedServer) -> None:
    detail = bad_request(surface="is 'x', which is not a surface")
    server.play("Rank", failing(grpc.StatusCode.INVALID_ARGUMENT, "no", detail))
    with pytest.raises(CommandError, match="is not a surface") as refused:
        await run("rank", "ann", "a", "--surface", "x", "--server", server.target)
    assert not refused.value.next_step
    problem = bad_request(filter_text="cannot be read: column 1")
    server.play(
        "TopItems",
        failing(grpc.StatusCode.INVALID_ARGUMENT, "filter_text: cannot be read: column 1", problem),
    )
    with pytest.raises(CommandError, match="docs/filters.md") as refused:
        await run("top", "--filter", "x", "--server", server.target)
    assert refused.value.what.count("cannot be read") == 1


@pytest.mark.parametrize(
    ("arguments", "order", "seconds"),
    [
        ((), ItemOrder.ITEM_ORDER_POPULAR, 0),
        (("popular", "--window", "24h"), ItemOrder.ITEM_ORDER_POPULAR, 86_400),
        (("popular", "--window", "30d"), ItemOrder.ITEM_ORDER_POPULAR, 30 * 86_400),
        (("newest",), ItemOrder.ITEM_ORDER_NEWEST, 0),
    ],
)
async def test_top_prints_items_with_their_figures(
    server: ScriptedServer, arguments: tuple[str, ...], order: int, seconds: int
) -> None:
    items = [
        TopItem(item_id="a", popularity=31, item=Item(title="Title of a")),
        TopItem(item_id="b", popularity=4, item=Item(title="Title of b")),
    ]
    server.play("TopItems", answering(TopItemsResponse(items=items)))
    wanted = "category = comedy"
    answer = await run("top", *arguments, "--server", server.target, "--count", "5", "--filter", wanted)
    assert answer.stdout.index("Title of a") < answer.stdout.index("Title of b") and "31" in answer.stdout
    [request] = server.requests("TopItems")
    assert (request.order, request.window.seconds, request.count) == (order, seconds, 5)
    assert request.filter_text == wanted
    printed = json.loads((await run("top", "--json", "--server", server.target)).stdout)
    assert printed["items"][0] == {"item_id": "a", "title": "Title of a", "popularity": 31}


async def test_a_window_that_is_no_time_is_refused() -> None:
    with pytest.raises(CommandError, match="write 24h or 30d"):
        await run("top", "--window", "soon")
