"""`recstream items` reads and changes a catalogue, line by line."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.commands.items import items
from cli.errors import CommandError
from recstream.client import Item
from recstream.v1 import catalog_service_pb2 as catalog
from tests.client.scripted_server import ScriptedServer, answering, token


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


async def run(server: ScriptedServer, *arguments: str, text: str = "") -> Result:
    """Runs the command in a thread, because it has an event loop of its own."""
    command = [*arguments, "--server", server.target]
    return await asyncio.to_thread(CliRunner().invoke, items, command, input=text)


def documents(result: Result) -> list[object]:
    return [json.loads(line) for line in result.stdout.splitlines()]


async def test_items_are_printed_one_a_line_and_an_unknown_one_fails(server: ScriptedServer) -> None:
    found = catalog.BatchGetItemsResponse(items=[Item(item_id="a", title="é")], unknown_item_ids=["b"])
    server.play("BatchGetItems", answering(found))
    result = await run(server, "get", "-", "--field", "title", text="a\n\nb\na\n")
    assert documents(result) == [{"item_id": "a", "title": "é"}]
    assert result.exit_code == 1 and result.stderr == "unknown: b\n"
    [request] = server.requests("BatchGetItems")
    assert (list(request.item_ids), list(request.item_fields)) == (["a", "b"], ["title"])


async def test_what_is_listed_can_be_put(server: ScriptedServer, tmp_path: Path) -> None:
    whole = [Item(item_id="a", categories=["x"], domain="video"), Item(item_id="b", withdrawn=True)]
    server.play(
        "ListItems",
        answering(catalog.ListItemsResponse(items=whole[:1], next_page_token="2")),
        answering(catalog.ListItemsResponse(items=whole[1:])),
    )
    server.play("PutItems", answering(catalog.PutItemsResponse(token=token(1))))
    listing = await run(server, "list", "--domain", "video", "--withdrawn")
    file = tmp_path / "items.jsonl"
    file.write_text(listing.stdout)
    put = await run(server, "put", str(file))
    assert put.stdout == "put: 2\n"
    assert list(server.requests("PutItems")[0].items) == whole
    request = server.requests("ListItems")[0]
    assert (request.domain, request.include_withdrawn) == ("video", True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"item_id": "b", "titel": "B"}', "titel"),
        ("b,B", "not an item in JSON"),
        ('{"item_id": " "}', "item_id is blank"),
        ('{"item_id": "b", "media": [{"modality": "image"}]}', "put the item with its contents"),
    ],
)
async def test_a_line_that_is_no_item_is_named_before_anything_is_sent(
    server: ScriptedServer, line: str, why: str
) -> None:
    result = await run(server, "put", "-", text=f'{{"item_id": "a"}}\n\n{line}\n')
    assert isinstance(result.exception, CommandError)
    assert "-, line 3" in str(result.exception) and why in str(result.exception)
    assert not server.seen


async def test_the_keys_of_a_line_are_the_fields_that_are_patched(server: ScriptedServer) -> None:
    server.play(
        "PatchItems",
        answering(catalog.PatchItemsResponse(token=token(2), unknown_item_ids=["b"])),
    )
    lines = (
        '{"item_id": "a", "attributes": {"price": {"numbers": [5]}, "old": null},'
        ' "updated_at": "2026-01-01T00:00:00Z"}',
        '{"itemId": "b", "title": null, "withdrawn": true, "attributes": null}',
    )
    result = await run(server, "patch", "-", text="\n".join(lines))
    assert (result.stdout, result.stderr, result.exit_code) == ("patched: 2\n", "unknown: b\n", 0)
    first, second = server.requests("PatchItems")[0].patches
    assert list(first.fields) == ["attributes.price", "attributes.old"]
    assert first.item.updated_at.seconds and list(first.item.attributes["price"].numbers) == [5]
    assert list(second.fields) == ["title", "withdrawn", "attributes"] and second.item.withdrawn


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"item_id": "b"}', "fields is empty"),
        ('{"item_id": " ", "title": "B"}', "item_id is blank"),
        ('{"item_id": "b", "titel": "B"}', "titel"),
        ('{"item_id": "b", "attributes": [1]}', "not a patch in JSON"),
        ("[1]", "not a patch in JSON"),
    ],
)
async def test_a_line_that_is_no_patch_is_named(server: ScriptedServer, line: str, why: str) -> None:
    result = await run(server, "patch", "-", text=f"{line}\n")
    assert isinstance(result.exception, CommandError)
    assert "-, line 1" in str(result.exception) and why in str(result.exception)
    assert not server.seen


async def test_a_missing_file_is_named(server: ScriptedServer, tmp_path: Path) -> None:
    result = await run(server, "put", str(tmp_path / "nowhere.jsonl"))
    assert isinstance(result.exception, CommandError) and "nowhere.jsonl cannot be read" in str(
        result.exception
    )


async def test_withdrawing_an_unknown_item_fails_and_deleting_it_does_not(server: ScriptedServer) -> None:
    server.play("WithdrawItems", answering(catalog.WithdrawItemsResponse(unknown_item_ids=["b"])))
    server.play("DeleteItems", answering(catalog.DeleteItemsResponse(unknown_item_ids=["b"])))
    withdrawn = await run(server, "withdraw", "a", "b")
    assert (withdrawn.stdout, withdrawn.stderr, withdrawn.exit_code) == (
        "withdrawn: 1\n",
        "unknown: b\n",
        1,
    )
    deleted = await run(server, "delete", "a", "b")
    assert (deleted.stdout, deleted.stderr, deleted.exit_code) == ("deleted: 1\n", "unknown: b\n", 0)


async def test_many_ids_are_sent_in_requests_of_a_thousand(server: ScriptedServer) -> None:
    server.play("DeleteItems", answering(catalog.DeleteItemsResponse()))
    result = await run(server, "delete", "-", text="\n".join(map(str, range(2_500))))
    assert result.stdout == "deleted: 2,500\n"
    assert [len(each.item_ids) for each in server.requests("DeleteItems")] == [1_000, 1_000, 500]
