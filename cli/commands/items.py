"""`recstream items`: reads and changes the catalogue through a server."""

import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf import json_format

from catalog.items.item_changes import patch_problems
from catalog.items.item_check import check
from cli.errors import CommandError
from cli.server_error import server_error
from recstream.client import Client, Item, ItemPatch, RecstreamError
from recstream.v1.catalog_service_pb2 import DeleteItemsResponse, WithdrawItemsResponse

T = TypeVar("T")
Ids = Annotated[list[str], typer.Argument(help="Item ids. `-`: one a line from standard input")]
Server = Annotated[str, typer.Option(help="host:port of the gRPC server")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", help="Only this field, such as title or attributes.price. May be repeated"),
]
_SERVER = "127.0.0.1:50051"
_SECONDS = 30.0
_IDS_PER_REQUEST = 1_000

items = typer.Typer(help="Read and change the catalogue.", no_args_is_help=True)


@items.command()
def get(item_ids: Ids, server: Server = _SERVER, field: Fields = None) -> None:
    """Print items, one JSON document a line. Exits with status 1 if one is unknown."""
    wanted = _ids(item_ids)
    found = _ask(server, lambda client: client.get_items(wanted, item_fields=field or (), timeout=_SECONDS))
    for item in found.values():
        _print(item)
    _report_unknown([item_id for item_id in wanted if item_id not in found])


@items.command("list")
def list_(
    server: Server = _SERVER,
    domain: Annotated[str, typer.Option(help="Only items of this domain")] = "",
    withdrawn: Annotated[bool, typer.Option(help="Also items that are withdrawn or have expired")] = False,
    field: Fields = None,
) -> None:
    """Print all items, one JSON document a line. `recstream items put` reads what this prints."""

    async def all_pages(client: Client) -> None:
        pages = client.list_items(
            domain=domain,
            include_withdrawn=withdrawn,
            item_fields=field or (),
            page_size=1_000,
            timeout=_SECONDS,
        )
        async for page in pages:
            for item in page:
                _print(item)

    _ask(server, all_pages)


@items.command()
def put(
    source: Annotated[str, typer.Argument(help="A file with one item in JSON a line. `-`: standard input")],
    server: Server = _SERVER,
) -> None:
    """Add or replace items. The keys are those of the contract: item_id, title, categories, attributes and so on.

    Lines are sent as they are read. If one is refused, those before it may have been put.
    """
    count = itertools.count()
    read = (item for item, _ in zip(_read_items(source), count, strict=False))
    _ask(server, lambda client: client.put_items(read, timeout=_SECONDS))
    print(f"put: {next(count):,}")


@items.command()
def patch(
    source: Annotated[str, typer.Argument(help="A file with one patch in JSON a line. `-`: standard input")],
    server: Server = _SERVER,
) -> None:
    """Set single fields of items. A line has item_id and the fields to set; null clears one. Other fields stay.

    In `attributes`, only the named ones are set. `updated_at` is the time of all fields of its line. Lines are sent as
    they are read. If one is refused, those before it may have been applied. Unknown items are named, and are no error:
    their patches wait until they are put.
    """
    answer = _ask(server, lambda client: client.patch_items(_read_patches(source), timeout=_SECONDS))
    print(f"patched: {answer.count:,}")
    _report_unknown(answer.unknown_item_ids, fails=False)


@items.command()
def withdraw(item_ids: Ids, server: Server = _SERVER) -> None:
    """Take items off every list. They stay in the catalogue. Exits with status 1 if one is unknown."""
    _change(server, item_ids, "withdrawn", Client.withdraw, unknown_fails=True)


@items.command()
def delete(item_ids: Ids, server: Server = _SERVER) -> None:
    """Remove items from the catalogue, with their media and vectors. Unknown items are named, and are no error."""
    _change(server, item_ids, "deleted", Client.delete_items, unknown_fails=False)


def _ask(server: str, work: Callable[[Client], Awaitable[T]]) -> T:
    async def run() -> T:
        async with Client(server) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except RecstreamError as error:
        raise server_error(server, error) from error


def _change(
    server: str,
    item_ids: Sequence[str],
    done: str,
    call: Callable[..., Awaitable[WithdrawItemsResponse | DeleteItemsResponse]],
    *,
    unknown_fails: bool,
) -> None:
    wanted = _ids(item_ids)

    async def all_batches(client: Client) -> list[str]:
        unknown: list[str] = []
        for start in range(0, len(wanted), _IDS_PER_REQUEST):
            batch = wanted[start : start + _IDS_PER_REQUEST]
            unknown += (await call(client, batch, timeout=_SECONDS)).unknown_item_ids
        return unknown

    unknown = _ask(server, all_batches)
    print(f"{done}: {len(wanted) - len(unknown):,}")
    _report_unknown(unknown, fails=unknown_fails)


def _ids(given: Sequence[str]) -> list[str]:
    """The different ids of the arguments, or of the lines of standard input."""
    if list(given) == ["-"]:
        given = [line.strip() for line in sys.stdin if line.strip()]
    return list(dict.fromkeys(given))


def _read_items(source: str) -> Iterator[Item]:
    """The items of a file of JSON lines. Raises CommandError, which names the line."""
    for line, where in _read_lines(source):
        item = _item(line, where)
        for field, problem in check(item):
            raise CommandError(f"{where}: {field} {problem}")
        yield item


def _read_patches(source: str) -> Iterator[ItemPatch]:
    """The patches of a file of JSON lines: the keys of a line are the fields. Raises CommandError, which names the
    line."""
    for line, where in _read_lines(source):
        try:
            document = json.loads(line)
            attributes = document.get("attributes") or {}
            # The JSON of protobuf has no null in a map.
            cleared = {name: {} if value is None else value for name, value in attributes.items()}
            item = json_format.ParseDict({**document, "attributes": cleared}, Item())
        except (ValueError, AttributeError, json_format.ParseError, RecursionError) as error:
            raise CommandError(f"{where} is not a patch in JSON: {error}") from error
        patch = ItemPatch(item=item, fields=_fields(document))
        for field, problem in patch_problems(patch):
            raise CommandError(f"{where}: {field} {problem}")
        yield patch


def _fields(document: dict[str, Any]) -> Iterator[str]:
    names = {name: field.name for field in Item.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    for key, value in document.items():
        name = names[key]
        if name == "attributes" and value:
            yield from (f"{name}.{each}" for each in value)
        elif name not in ("item_id", "updated_at"):
            yield name


def _read_lines(source: str) -> Iterator[tuple[str, str]]:
    """The lines that are not blank, each with its place."""
    try:
        with nullcontext(sys.stdin) if source == "-" else Path(source).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield line, f"{source}, line {number}"
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{source} is not UTF-8: {error}") from error


def _item(line: str, where: str) -> Item:
    try:
        item: Item = json_format.Parse(line, Item())
    except (json_format.ParseError, RecursionError) as error:
        raise CommandError(f"{where} is not an item in JSON: {error}") from error
    return item


def _print(item: Item) -> None:
    document = json_format.MessageToDict(item, preserving_proto_field_name=True)
    print(json.dumps(document, ensure_ascii=False))


def _report_unknown(item_ids: Sequence[str], *, fails: bool = True) -> None:
    for item_id in item_ids:
        print(f"unknown: {item_id}", file=sys.stderr)
    if item_ids and fails:
        raise typer.Exit(1)
