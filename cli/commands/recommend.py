"""`recstream recommend USER`: prints one list."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from recstream.client import Client, Recommendations, RecstreamError
from recstream.v1 import filter_pb2

_CALLS = 100
"""Titles that are asked for at the same time."""


def recommend(
    user: Annotated[str, typer.Argument(help="User id. A user without events gets a list too")],
    server: Annotated[str, typer.Option(help="host:port of the gRPC server")] = "127.0.0.1:50051",
    count: Annotated[int, typer.Option(min=1, max=500, help="Number of items")] = 10,
    surface: Annotated[
        str, typer.Option(help="Surface on which the list is shown. Default: the default surface")
    ] = "",
    domain: Annotated[str, typer.Option(help="Only items of this domain")] = "",
    category: Annotated[
        list[str] | None,
        typer.Option(help="Only items of this category. May be repeated: items of any of them"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as one JSON document")] = False,
) -> None:
    """Ask the server for one list of a user."""
    wanted = filter_pb2.Filter(categories=category or [])
    try:
        answer, titles = asyncio.run(_ask(server, user, count, surface, domain, wanted))
    except RecstreamError as error:
        raise CommandError(f"{server}: {error}", "`recstream doctor` says what is reachable") from error
    if as_json:
        items = [
            {"item_id": i.item_id, "title": titles[i.item_id], "score": i.score, "reason": i.reason.text}
            for i in answer
        ]
        print(json.dumps({"user_id": user, "tier": answer.tier.name.lower(), "items": items}))
    else:
        Console().print(list_table(user, answer, titles))


async def _ask(
    server: str, user: str, count: int, surface: str, domain: str, wanted: filter_pb2.Filter
) -> tuple[Recommendations, dict[str, str]]:
    async with Client(server) as client:
        answer = await client.recommend(user, count=count, surface=surface, domain=domain, filter=wanted)
        return answer, await titles_of(client, answer.item_ids)


async def titles_of(client: Client, item_ids: Sequence[str]) -> dict[str, str]:
    """Returns the titles of items by id. An item has its id for a title if it has none or does not exist."""
    found: dict[str, str] = {}
    for start in range(0, len(item_ids), _CALLS):
        some = item_ids[start : start + _CALLS]
        titles = await asyncio.gather(*(title(client, item_id) for item_id in some))
        found.update(zip(some, titles, strict=True))
    return found


async def title(client: Client, item_id: str) -> str:
    """Returns the item's title, or its id if it has no title or does not exist."""
    try:
        return (await client.item(item_id)).item.title or item_id
    except RecstreamError:
        return item_id


def list_table(user: str, answer: Recommendations, titles: dict[str, str]) -> Table:
    """Returns a list as a table."""
    table = Table(title=f"{user}: {len(answer)} items, tier {answer.tier.name.lower()}", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    table.add_column("why")
    for place, item in enumerate(answer, start=1):
        table.add_row(str(place), titles[item.item_id], f"{item.score:.3f}", item.reason.text)
    return table
